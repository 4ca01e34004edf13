"""Each recipe makes a small data set with its card, and refuses to add to a part of one."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.rollout import Episode, EpisodeInfo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def recipes_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes are scripts: what they share lies beside them."""
    monkeypatch.syspath_prepend(str(ROOT / "datasets"))
    monkeypatch.setattr(sys, "argv", ["recipe.py", "--out", "a folder"])


def recipe(name: str) -> ModuleType:
    return importlib.import_module(name)


def card_in(out: Path, name: str) -> dict[str, Any]:
    """The card, checked for what every one of them says."""
    card = json.loads((out / "card.json").read_text())
    assert card["recipe"] == name and card["what"] and card["licence"]
    assert card["command"] == f"python datasets/{name}.py --out 'a folder'"
    assert card["bytes"] > 0 and card["seconds"] >= 0
    return card


def lift(seed: int, success: bool = True) -> Episode:
    """An episode with what pairs and captions are made from."""
    rng = np.random.default_rng(seed)
    height = np.linspace(0.02, 0.05, 12).astype(np.float32)
    return Episode(
        info=EpisodeInfo("mujoco/Lift", "lift the red cube", seed=seed),
        observation={},
        action=np.zeros((12, 4), np.float32),
        reward=np.zeros(12, np.float32),
        success=success,
        terminated=success,
        signals={"cube_height": height, "tool_cube_distance": np.full(12, 0.02, np.float32)},
        frames={"front": rng.integers(0, 256, (13, 8, 8, 3), dtype=np.uint8)},
        frame_step=np.arange(13),
        keyframes={"grasp": 4, "lift": 8} if success else {},
    )


def test_scripted_demos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = recipe("scripted_demos")
    asked = demos.Recipe(tasks=("mujoco/Reach",), demonstrations=1, size=32, out=tmp_path)
    demos.main(asked)
    out = tmp_path / "mujoco_Reach"
    card = card_in(out, "scripted_demos")
    assert (card["episodes"], card["successes"], card["seeds"]) == (1, 1, "400000 to 400000")
    assert 0 < card["expert_success_rate"] <= 1 and "scenes" in card["licence"]
    demos.main(asked)  # a finished task is left as it is
    assert len(EpisodeStore(out / "episodes", mode="r")) == 1
    (out / "card.json").unlink()
    with pytest.raises(RoboError, match=r"mujoco_Reach holds files but no card.json.*remove it"):
        demos.main(asked)
    assert len(EpisodeStore(out / "episodes", mode="r")) == 1
    assert "left out" not in capsys.readouterr().out


def test_tasks_that_are_recorded_by_default_are_installed() -> None:
    from robo.sim.registry import tasks

    found = recipe("scripted_demos").with_expert()
    assert len(found) == len(set(found)) and set(found) <= set(tasks())
    assert not any("libero_90" in task or "robosuite-batch" in task for task in found)


def test_failures(tmp_path: Path) -> None:
    failures = recipe("failures")
    asked = failures.Recipe(count=1, half_trained=(), size=16, stride=30, num_envs=1, out=tmp_path)
    failures.main(asked)
    card = card_in(tmp_path, "failures")
    assert set(card["kinds"]) == {"random", "noisy expert"} and card["successes"] == 0
    assert card["licence"] == "Apache-2.0 (scripts, actions, scenes)"
    (tmp_path / "card.json").unlink()
    with pytest.raises(RoboError, match=r"holds files but no card.json"):
        failures.main(asked)
    kept = EpisodeStore(tmp_path / "episodes", mode="r")
    assert len(kept) == card["episodes"] == 2


@pytest.mark.slow
def test_driving_logs(tmp_path: Path) -> None:
    logs = recipe("driving_logs")
    options = ("time_limit=2", "vehicles=1", "pedestrians=0")
    asked = logs.Recipe(
        episodes=1, size=16, stride=20, keep_birdseye=False, options=options, out=tmp_path
    )
    logs.main(asked)
    card = card_in(tmp_path, "driving_logs")
    assert (card["episodes"], card["server"]) == (1, "stand-in")
    assert card["licence"].startswith("Apache-2.0")


def test_driving_logs_name_a_wrong_option(tmp_path: Path) -> None:
    logs = recipe("driving_logs")
    with pytest.raises(RoboError, match="--options vehicles: expected NAME=NUMBER"):
        logs.main(logs.Recipe(options=("vehicles",), out=tmp_path))


@pytest.mark.slow
def test_driving_frames(tmp_path: Path) -> None:
    frames = recipe("driving_frames")
    options = {"time_limit": 2.0, "vehicles": 1, "pedestrians": 0}
    frames.main(
        frames.Config(
            lanes=2, episodes=1, size=16, stride=20, num_envs=1, options=options, out=tmp_path
        )
    )
    card = card_in(tmp_path, "driving_frames")
    assert card["episodes"] == 1 and card["frames"] > 0 and card["collisions"] in (0, 1)


def test_grm_pairs(tmp_path: Path) -> None:
    EpisodeStore(tmp_path / "store").extend([lift(0), lift(1)])
    pairs = recipe("grm_pairs")
    pairs.main(pairs.Recipe(stores=(tmp_path / "store",), pairs=50, out=tmp_path / "pairs"))
    card = card_in(tmp_path / "pairs", "grm_pairs")
    lines = (tmp_path / "pairs/pairs.jsonl").read_text().splitlines()
    assert len(lines) == card["pairs"] == 50 and sum(card["pairs_per_bin"]) == 50
    for line in map(json.loads, lines):
        assert line["episode"] in (0, 1) and 0 <= line["before_row"] < 13
        assert np.sign(line["hop"]) == np.sign(line["after_label"] - line["before_label"])


def test_domain_captions(tmp_path: Path) -> None:
    EpisodeStore(tmp_path / "store").extend([lift(0), lift(1)])
    captions = recipe("domain_captions")
    captions.main(
        captions.Recipe(stores=(tmp_path / "store",), captions="lifting", out=tmp_path / "captions")
    )
    card = card_in(tmp_path / "captions", "domain_captions")
    lines = (tmp_path / "captions/captions.jsonl").read_text().splitlines()
    assert len(lines) == card["captions"] == sum(card["scenes"].values()) > 0
    assert len(lines) + card["frames_without_caption"] == 2 * 13


@pytest.mark.slow
def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "datasets/grm_pairs.py", "--stores", str(tmp_path / "none")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (sentence,) = done.stderr.strip().splitlines()
    assert sentence.startswith("grm_pairs: ") and "none" in sentence
