from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def lift_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of ``robo collect``: 3 demonstrations and 2 failures of mujoco/Lift, tiny."""
    # fit imports torch._dynamo, which must come before the cameras' GL context.
    import robo.rewards.grm.fit  # noqa: F401
    from robo.commands.collect import Collect, record

    folder = tmp_path_factory.mktemp("lift")
    record(
        Collect(demonstrations=3, failures=("beside:1", "hover:1"), size=32, num_envs=4, out=folder)
    )
    return folder


@pytest.fixture(scope="session")
def lift_grm(lift_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a GRM that was fitted on it for a moment."""
    from robo.commands.fit import FitGRM, fit
    from robo.rewards.grm.fit import FitConfig

    folder = tmp_path_factory.mktemp("grm")
    config = FitConfig(iterations=8, episodes_per_step=4, rows_per_episode=6, references=2)
    fit(FitGRM(lift_run, config, threads=1, out=folder))
    return folder
