"""The main job, ``robo demo``, for several seeds of data, reward model and policy.

    python benchmarks/demo.py --out benchmarks/results/demo.json

Each seed is one whole run, from collecting to videos. Interrupt and repeat the command: finished
stages are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from _study import machine, publish

# The trainer imports torch._dynamo, which must come before the first GL context.
import robo.policies.trainer  # noqa: F401
from robo.commands.demo import Demo


@dataclass(frozen=True)
class Options:
    """Run the demo for several seeds."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """One whole run each."""
    work: Path = Path("runs/benchmarks/demo")
    """Folder of the runs."""
    out: Path | None = Path("benchmarks/results/demo.json")
    """JSON file to write."""


def main(options: Options) -> None:
    """Run what is missing, print and write the JSON."""
    runs = [Demo(seed=seed, out=options.work / f"seed-{seed}").run() for seed in options.seeds]
    result = {"benchmark": "demo", "runs": runs, "machine": machine()}
    publish(result, options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
