"""The GRM of the main job, as ``robo demo`` makes it: what both GRM benchmarks look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robo.commands.demo import FAILURES, Demo

DEMONSTRATIONS = Demo.demonstrations
"""Scripted demonstrations of mujoco/Lift. The kinds not in ``FAILURES`` stay unseen."""


def collect_and_fit(folder: Path, seed: int, iterations: int | None = None) -> dict[str, Any]:
    """Collect and fit in ``folder``.

    Args:
        folder: gets ``demos/episodes`` and ``grm``.
        seed: of the fit, and of the recorded episodes (from 100,000 + 10,000 * seed).
        iterations: of the fit; None for the default.

    Returns:
        ``grm`` (folder) and the fit's summary.
    """
    # fit imports torch._dynamo, which must come before the cameras' GL context.
    from robo.commands.collect import Collect, record
    from robo.commands.fit import FitGRM, fit
    from robo.rewards.grm.fit import FitConfig

    demos = Collect(
        demonstrations=DEMONSTRATIONS,
        failures=FAILURES,
        seed=100_000 + 10_000 * seed,
        out=folder / "demos",
    )
    record(demos)
    config = FitConfig(seed=seed) if iterations is None else FitConfig(iterations, seed=seed)
    return fit(FitGRM(folder / "demos", config, threads=1, out=folder / "grm"))
