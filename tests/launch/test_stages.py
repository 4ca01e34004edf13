"""Stages of the launch scripts: done once, with one set of settings, and their honest seconds."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from robo.errors import RoboError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Config:
    out: Path
    resume: bool = False
    seed: int = 0
    total_steps: int = 100
    views: tuple[str, ...] = ("front",)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "launch"))
    return importlib.import_module("stages").Stages


def forbidden() -> dict[str, Any]:
    raise AssertionError("a finished stage was done again")


def test_a_stage_is_done_once(stages: Any, tmp_path: Path) -> None:
    config = Config(tmp_path / "run")
    assert stages(config).do("collect", lambda: {"demonstrations": 3}) == {"demonstrations": 3}
    with pytest.raises(RoboError, match=r"holds a run; choose another --out or add --resume"):
        stages(config)
    again = stages(replace(config, resume=True))
    assert again.do("collect", forbidden) == {"demonstrations": 3}
    assert set(again.seconds) == {"collect"}


def test_a_stage_that_failed_is_done_again(stages: Any, tmp_path: Path) -> None:
    config = Config(tmp_path)
    with pytest.raises(AssertionError):
        stages(config).do("fit", forbidden)
    assert stages(replace(config, resume=True)).do("fit", lambda: {"loss": 1}) == {"loss": 1}


def test_other_settings_are_another_run(stages: Any, tmp_path: Path) -> None:
    config = Config(tmp_path, resume=True)
    stages(config).do("collect", dict)
    with pytest.raises(RoboError, match="was begun with seed 0, not seed 1; resume it with its"):
        stages(replace(config, seed=1))
    stages(replace(config, total_steps=200)).do("train", dict)
    stages(replace(config, total_steps=200))
    with pytest.raises(RoboError, match="total_steps 200, not total_steps 300"):
        stages(replace(config, total_steps=300))


def test_training_that_was_interrupted_counts_all_its_seconds(stages: Any, tmp_path: Path) -> None:
    own = stages(Config(tmp_path))
    own.do("train", lambda: {"wall_seconds": 1500.0})

    def slow() -> dict[str, Any]:
        time.sleep(0.15)
        return {"wall_seconds": 0.01}

    own.do("evaluate", slow)
    assert own.seconds["train"] == 1500.0
    assert own.seconds["evaluate"] >= 0.1


def test_a_command_that_was_refused_at_once_locks_no_folder(stages: Any, tmp_path: Path) -> None:
    stages(Config(tmp_path, seed=7))
    again = stages(Config(tmp_path, seed=8))  # neither a run, nor one with other settings
    again.do("collect", dict)
    with pytest.raises(RoboError, match="holds a run"):
        stages(Config(tmp_path, seed=8))
