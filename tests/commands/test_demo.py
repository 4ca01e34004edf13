"""The main job in small: every stage on the real simulator, and what a repeated demo does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robo.cli import main
from robo.commands.demo import FAILURES
from robo.media import read_video


def demo(out: Path, *more: str) -> int:
    """``robo demo``, as small as its stages allow."""
    small = ("--demonstrations", "4", "--grm-iterations", "6", "--total-steps", "3840")
    return main(["demo", "--out", str(out), *small, *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small demo for all tests, with a failure of each kind."""
    out = tmp_path_factory.mktemp("demo") / "run"
    kinds = tuple(f"{failure.partition(':')[0]}:1" for failure in FAILURES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robo.commands.demo.FAILURES", kinds)
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
    assert result["video_actors"] == {"success": None, "failure": "trained policy"}
    assert result["videos"]["success"] is None
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--demonstrations", "0"), "demonstrations is 0"),
        (("--grm-iterations", "0"), "grm_iterations is 0"),
        (("--total-steps", "-1"), "total_steps is -1"),
        (("--seed", "-1"), "seed is -1"),
    ],
)
def test_what_cannot_be_run_is_refused(
    change: tuple[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, exit code 2, nothing written."""
    out = tmp_path / "run"
    assert main(["demo", "--out", str(out), *change]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_a_task_without_failure_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo runs on the other tasks too, and says what each stage does and came to."""
    out = tmp_path / "run"
    small = ("--demonstrations", "3", "--grm-iterations", "3", "--total-steps", "3840")
    assert main(["demo", "--task", "mujoco/Reach", "--out", str(out), *small]) == 0
    said = capsys.readouterr().err
    for stage in ("1/5 collect:", "2/5 fit:", "3/5 train:", "4/5 evaluate:", "5/5 video:"):
        assert stage in said
    assert "3 demonstrations" in said and "robo evaluate --policy" in said
    assert "Traceback" not in said
