from __future__ import annotations

import os

# Before torch and NumPy start their thread pools: on few cores small tensors are several times
# slower with more threads, and one thread makes sums the same in every run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

# No deadline: the first example of many tests compiles or imports something large.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=50, **_COMMON)
settings.register_profile("soak", max_examples=5000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
