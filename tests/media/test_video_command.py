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


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--index", "3"], "it holds 3 episodes"),
        (["--gamma", "1.5"], "gamma is 1.5"),
        (["--stride", "0"], "at least 1"),
        (["--width", "100"], "too small"),
        (["--fps", "0"], "frame rate"),
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
    runpy.run_path(str(LAUNCH), run_name="__main__")
    names = sorted(path.name for path in (tmp_path / "videos").iterdir())
    assert names == ["episode_00000_failure.mp4", "episode_00001_success.mp4"]
    assert capsys.readouterr().out.count(".mp4") == 2
    monkeypatch.setattr(sys, "argv", [str(LAUNCH), *arguments, "--episodes", "9"])
    with pytest.raises(SystemExit, match="holds 3 episodes"):
        runpy.run_path(str(LAUNCH), run_name="__main__")
