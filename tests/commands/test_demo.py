"""The main job in small: every stage on the real simulator, and what a repeated demo does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robo.cli import main
from robo.media import read_video


def demo(out: Path, *more: str) -> int:
    """``robo demo``, as small as its stages allow."""
    small = ("--demonstrations", "4", "--grm-iterations", "6", "--total-steps", "3840")
    return main(["demo", "--out", str(out), *small, *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small demo for all tests."""
    out = tmp_path_factory.mktemp("demo") / "run"
    assert demo(out) == 0
    return out


@pytest.mark.slow
def test_result_holds_what_was_measured(folder: Path) -> None:
    """Success on the report seeds, the time-out rule, seconds per stage, readable videos."""
    result = json.loads((folder / "result.json").read_text())
    assert 0.0 <= result["success_shaped"] <= 1.0
    assert result["episodes"] == 100
    assert result["timeout"] == "keep"
    assert result["environment_steps"] == 3840
    assert set(result["stages"]) == {"collect", "fit", "train", "evaluate", "video"}
    low, high = result["interval"]
    assert low <= result["success_shaped"] <= high
    frames, _ = read_video(Path(result["videos"]["failure"]))
    assert frames.shape[1:] == (720, 1280, 3)
    report = set(range(6000, 6100))
    first, last = map(int, result["selection_seeds"].split("-"))
    assert report.isdisjoint(range(first, last + 1))


@pytest.mark.slow
def test_finished_stages_are_not_repeated(folder: Path) -> None:
    """A second run reads the stages back, and a demo of other settings is refused."""
    before = json.loads((folder / "result.json").read_text())
    assert demo(folder) == 0
    assert json.loads((folder / "result.json").read_text()) == before
    assert demo(folder, "--seed", "1") == 2
    assert json.loads((folder / "result.json").read_text()) == before


@pytest.mark.slow
def test_policy_can_be_evaluated_by_the_command(folder: Path, tmp_path: Path) -> None:
    """``robo evaluate --policy`` takes the demo's run folder."""
    out = tmp_path / "evaluation"
    arguments = ["--policy", str(folder), "--task", "mujoco/Lift", "--seeds", "5000-5003"]
    assert main(["evaluate", *arguments, "--out", str(out)]) == 0
    assert json.loads((out / "result.json").read_text())["episodes"] == 4
