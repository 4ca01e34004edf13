"""How punctual the control loop is, with a policy that takes its time beside it.

    python benchmarks/control_loop.py --seconds 600

Runs the simulated arm in real time, inside its envelope, and says what else ran on the machine.
The target: at 20 Hz over 10 minutes, 99.9 % of deadlines met with a policy of 20 ms, and a p99
jitter of at most 5 ms on an idle machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from _study import machine, one_thread, publish

from robo.robots.actions import action_map
from robo.robots.clock import WallClock
from robo.robots.inference import make_inference
from robo.robots.loop import ControlLoop, LoopConfig
from robo.robots.policies import Observation
from robo.robots.safety import Envelope
from robo.robots.simulated import SimulatedConfig, SimulatedRobot

RESULT = Path(__file__).parent / "results" / "control_loop.json"


@dataclass(frozen=True)
class Config:
    """One measurement."""

    seconds: float = 600.0
    """How long the loop runs."""
    rate: float = 20.0
    """Commands per second."""
    policy_ms: float = 20.0
    """Computing time of the policy."""
    inference: Literal["thread", "process"] = "thread"
    """Where it computes."""
    size: int = 128
    """Pixels of the camera's frames; 0 draws none."""
    out: Path = RESULT
    """JSON of the result."""


class Busy:
    """Multiplies matrices for its time, as a small network does, and sways the tool."""

    def __init__(self, seconds: float) -> None:
        """See the class."""
        self.seconds, self.count = seconds, 0
        self.matrix = np.random.default_rng(0).normal(size=(96, 96))

    def reset(self, seed: int) -> None:
        """A trial begins."""
        self.count = 0

    def __call__(self, observation: Observation) -> np.ndarray:
        """One action, ``[1, 4]``."""
        end = time.perf_counter() + self.seconds
        product = self.matrix
        while time.perf_counter() < end:
            product = self.matrix @ np.tanh(product)
        self.count += 1
        side = np.sin(self.count / 10) + 0.0 * product[0, 0]
        return np.array([[0.3 * np.cos(self.count / 10), 0.6 * side, 0.0, 0.0]])


def cpu_seconds() -> dict[str, float]:
    """Processor seconds used so far, by name of program, where the system tells."""
    used: dict[str, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        pid = name.partition(" ")[0]
        if pid != str(os.getpid()):
            program = name.partition("(")[2]
            ticks = int(fields[11]) + int(fields[12])
            used[program] = used.get(program, 0.0) + ticks / os.sysconf("SC_CLK_TCK")
    return used


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    one_thread()
    options = tyro.cli(Config, args=arguments)
    clock = WallClock()
    events: list[str] = []
    robot = SimulatedRobot(SimulatedConfig("mujoco/Reach", size=options.size), clock)
    envelope = Envelope(
        robot, clock=clock, on_event=lambda e: events.append(f"{e.action} {e.kind}")
    )
    envelope.connect()
    policy = partial(Busy, options.policy_ms / 1000)
    inference = make_inference(options.inference, policy, clock)
    config = LoopConfig(rate=options.rate, seconds=options.seconds, frame_stride=10**9)
    loop = ControlLoop(
        envelope, inference, action_map("tool_displacement", envelope.capabilities), config
    )
    robot.prepare(0)
    before, began = cpu_seconds(), time.monotonic()
    trace = loop.run()
    wall = time.monotonic() - began
    others = {n: (s - before.get(n, 0.0)) / wall for n, s in cpu_seconds().items()}
    inference.close()
    envelope.close()
    timing = trace.timing.summary()
    result: dict[str, Any] = {
        "rate": options.rate,
        "seconds": options.seconds,
        "policy_ms": options.policy_ms,
        "inference": options.inference,
        "frames": f"{options.size}x{options.size}",
        "ticks": timing["ticks"],
        "deadlines_met": timing["deadlines_met"],
        "jitter_ms": timing["jitter"],
        "latency_ms": timing["latency"],
        "inference_ms": timing["inference"],
        "ending": trace.ending,
        "events": {kind: events.count(kind) for kind in sorted(set(events))},
        "targets": {
            "deadlines": (timing["deadlines_met"] or 0) >= 0.999,
            "jitter": (timing["jitter"]["p99"] or np.inf) <= 5.0,
        },
        "other_load": {
            "cores_used": {n: round(s, 3) for n, s in sorted(others.items()) if s > 0.005},
            "load_average": os.getloadavg()[0],
        },
        "machine": machine(),
    }
    publish(result, options.out)


if __name__ == "__main__":
    main()
