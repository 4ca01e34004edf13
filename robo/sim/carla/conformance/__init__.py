"""Does a server answer the public client API as CARLA 0.9.16 does? For ours and for a real one.

python -m robo.sim.carla.conformance 127.0.0.1 2000
"""

from robo.sim.carla.conformance.runner import (
    CheckResult,
    run_conformance,
    run_conformance_process,
)

__all__ = ["CheckResult", "run_conformance", "run_conformance_process"]
