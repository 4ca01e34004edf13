"""`robo video` and launch/export_reward_video.py, from a store and a GRM to files."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from robo.cli import main
from robo.data import EpisodeStore
from robo.media import read_video
from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.rollout import Episode, EpisodeInfo

LAUNCH = Path(__file__).parents[2] / "launch" / "export_reward_video.py"
VIEWS = ("front", "wrist")


def episode(steps: int, success: bool, seed: int) -> Episode:
    """Random frames every 4 steps and at the end."""
    generator = np.random.default_rng(seed)
    rows = np.array(sorted({*range(0, steps, 4), steps}))
    frames = {
        view: generator.integers(0, 255, (len(rows), 32, 32, 3), dtype=np.uint8) for view in VIEWS
    }
    return Episode(
        EpisodeInfo("mujoco/Lift", "lift the cube", seed=seed),
        {"state": np.zeros((steps + 1, 3), np.float32)},
        np.zeros((steps, 4), np.float32),
        np.zeros(steps, np.float32),
        success,
        success,
        frames=frames,
        frame_step=rows,
    )


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """A store of two failures and a success, and a GRM with fresh weights."""
    with EpisodeStore(tmp_path / "store") as store:
        store.extend([episode(9, False, 0), episode(6, True, 1), episode(7, False, 2)])
    torch.manual_seed(0)
    grm = CompactGRM(CompactGRMConfig(views=VIEWS, height=32, width=32))
    first = episode(6, True, 1)
    for kind, row in (("start", 0), ("goal", -1)):
        grm.reference[kind] = {
            view: torch.from_numpy(image[row][None]) for view, image in first.frames.items()
        }
    grm.save(tmp_path / "grm")
    return tmp_path / "store", tmp_path / "grm"


def run(inputs: tuple[Path, Path], out: Path, *more: str) -> int:
    """The exit code of `robo video`."""
    store, grm = map(str, inputs)
    return main(["video", "--store", store, "--grm", grm, "--out", str(out), *more])


def test_writes_the_video(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    """The file, and a result that tells what it shows."""
    assert run(inputs, tmp_path / "run", "--index", "-2", "--fps", "5", "--width", "640",
               "--height", "360") == 0  # fmt: skip
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    frames, fps = read_video(result["video"])
    assert frames.shape == (7 + 8, 360, 640, 3)
    assert fps == 5
    assert (result["episode"], result["success"], result["steps"]) == (1, True, 6)
    assert 0 <= result["final_potential"] <= 1


def test_any_rewards_in_columns(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    """Two policies by two rewards: four columns, slow motion, a GIF and a poster."""
    store, _ = map(str, inputs)
    arguments = ["--rewards", "environment", "success", "--against", store, "--against-index", "1"]
    arguments += ["--width", "1600", "--height", "600", "--slow", "2", "--slow-steps", "2-5"]
    assert main(["video", "--store", store, "--index", "0", *arguments, "--format", "gif",
                 "--out", str(tmp_path / "run")]) == 0  # fmt: skip
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["video"].endswith(".gif") and Path(result["video"]).stat().st_size > 1000
    assert Path(result["poster"]).is_file() and result["rerun"] is None
    shown = [(c["episode"], c["reward"], c["success"]) for c in result["columns"]]
    assert shown == [
        (0, "environment", False),
        (0, "success", False),
        (1, "environment", True),
        (1, "success", True),
    ]
    assert result["columns"][3]["undiscounted_return"] == 1


def test_hops_of_the_grm_are_marked(inputs: tuple[Path, Path]) -> None:
    """Through a wrapper too; none for rewards without a GRM."""
    from robo.media.stored import reward_hops
    from robo.rewards.spec import reward_from_spec

    store, grm = inputs
    shown = EpisodeStore(store, mode="r")[0]
    for spec in (f"grm:{grm}", f"delta(raw:{grm})", f"grm:{grm},mode=mean"):
        hops = reward_hops(shown, reward_from_spec(spec, stride=4))
        assert hops is not None and hops.step.tolist() == [0, 4, 8, 9]
    assert reward_hops(shown, reward_from_spec("success")) is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--index", "3"], "it holds 3 episodes"),
        (["--gamma", "1.5"], "gamma is 1.5"),
        (["--stride", "0"], "at least 1"),
        (["--width", "100"], "too small"),
        (["--fps", "0"], "frame rate"),
        (["--slow", "0"], "slow motion is 0"),
        (["--slow-steps", "9-3"], "expected events, all, or steps"),
        (["--rewards", "nonsense"], "nonsense"),
        (["--rewards", "shaped:height"], "signals ['height'], which the episode"),
    ],
)
def test_bad_settings(
    inputs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    words: str,
) -> None:
    """One sentence, exit code 2, no video."""
    assert run(inputs, tmp_path / "run", *more) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.mp4"))


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_inputs(inputs: tuple[Path, Path], tmp_path: Path, missing: int) -> None:
    """No store, or no GRM."""
    given = list(inputs)
    given[missing] = tmp_path / "nowhere"
    assert run((given[0], given[1]), tmp_path / "run") == 2


def test_launch_script(
    inputs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Chooses the first success and the first failure."""
    store, grm = map(str, inputs)
    arguments = ["--store", store, "--grm", grm, "--out", str(tmp_path / "videos")]
    monkeypatch.setattr(sys, "argv", [str(LAUNCH), *arguments])
    monkeypatch.syspath_prepend(str(LAUNCH.parent))  # as python does for a script
    runpy.run_path(str(LAUNCH), run_name="__main__")
    names = sorted(path.name for path in (tmp_path / "videos").iterdir())
    assert names == ["episode_00000_failure.mp4", "episode_00001_success.mp4"]
    assert capsys.readouterr().out.count(".mp4") == 2
    monkeypatch.setattr(sys, "argv", [str(LAUNCH), *arguments, "--episodes", "9"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(LAUNCH), run_name="__main__")
    assert stop.value.code == 2
    assert "holds 3 episodes" in capsys.readouterr().err
