"""The folder of one run.

``runs/<name>/{config.json, result.json, metrics/, checkpoints/, policy/, videos/}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo.errors import RoboError
from robo.storage import read_json


@dataclass(frozen=True)
class RunFolder:
    """Places inside one run's folder."""

    root: Path
    """Folder of the run."""

    @property
    def config(self) -> Path:
        """``config.json``, the resolved configuration."""
        return Path(self.root) / "config.json"

    @property
    def result(self) -> Path:
        """``result.json``, what the run ended with."""
        return Path(self.root) / "result.json"

    @property
    def metrics(self) -> Path:
        """TensorBoard events."""
        return Path(self.root) / "metrics"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, and ``best/``: the policy that did best in the periodic evaluations."""
        return Path(self.root) / "checkpoints"

    @property
    def best(self) -> Path:
        """Policy folder of the best periodic evaluation."""
        return self.checkpoints / "best"

    @property
    def policy(self) -> Path:
        """Policy folder of the run's last parameters."""
        return Path(self.root) / "policy"

    @property
    def videos(self) -> Path:
        """Reward videos."""
        return Path(self.root) / "videos"


def earlier_run(folder: Path) -> str:
    """Why a new run may not begin in ``folder``, which holds checkpoints."""
    return (
        f"{folder} already holds checkpoints of a run; go on with it by --resume or choose "
        "another --out"
    )


def find_policy(folder: Path) -> Path:
    """The policy folder inside ``folder``.

    Args:
        folder: a policy folder (holds ``policy.json``), or a run folder: the best policy of its
            periodic evaluations, else its last one.

    Raises:
        RoboError: where there is none.
    """
    run = RunFolder(Path(folder))
    for place in (run.root, run.best, run.policy):
        if (Path(place) / "policy.json").is_file():
            return Path(place)
    raise RoboError(
        f"{folder} holds no policy; expected a run folder of `robo train` (with checkpoints/best "
        "or policy) or a policy folder with policy.json"
    )


def training_options(folder: Path, task: str) -> dict[str, Any]:
    """The simulator's options with which a policy was trained on ``task``.

    Args:
        folder: a run folder, or a policy folder inside one.
        task: registry id.

    Returns:
        Name to value; empty where the run was of another task, or is not recorded.
    """
    for place in (Path(folder), *Path(folder).parents[:2]):
        path = RunFolder(place).config
        if path.is_file():
            found = read_json(path).get("config", {})
            return dict(found.get("options", {})) if found.get("task") == task else {}
    return {}
