"""``robo collect`` on the real mujoco/Lift."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from robo.commands.collect import Collect, fits, record
from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.sim.mujoco.expert import CLEAN, ExpertStyle


def test_demonstrations_and_failures_with_frames_keyframes_and_ceilings(tmp_path):
    seen: list[int] = []
    config = Collect(
        demonstrations=2,
        failures=("beside:1", "hover"),
        style=CLEAN,
        views=("front",),
        size=16,
        stride=4,
        seed=31,
        num_envs=4,
        out=tmp_path,
    )
    result = record(config, on_episode=lambda: seen.append(1))
    assert result["episodes"] == len(seen) == 4
    assert result["failures"] == {"beside": 1, "hover": 1}
    assert 2 <= result["attempts"] <= 8
    assert result["expert_success_rate"] == 2 / result["attempts"]
    with EpisodeStore(tmp_path / "episodes", mode="r") as store:
        episodes = list(store)
    assert [episode.success for episode in episodes] == [True, True, False, False]
    assert [episode.metadata["actor"] for episode in episodes[2:]] == ["beside", "hover"]
    seeds = [episode.info.seed for episode in episodes]
    assert len(set(seeds)) == 4 and min(seed or 0 for seed in seeds) >= 31
    for episode in episodes:
        assert episode.frames["front"].shape[1:] == (16, 16, 3)
        assert episode.frame_step[0] == 0 and episode.frame_step[-1] == len(episode)
        assert np.all(episode.frame_step[:-1] % 4 == 0)
        assert len(episode.signals["progress"]) == len(episode)
    assert list(episodes[0].keyframes) == ["grasp", "lift"]
    assert episodes[0].signals["progress"][-1] == 1.0
    assert 0 < episodes[2].metadata["progress_ceiling"] < 1
    with pytest.raises(RoboError, match="already holds 4 episodes"):
        record(config)


def test_options_reach_the_simulator(tmp_path):
    shown = {"views": ("front",), "size": 16, "stride": 100}
    options = {"profile": "faithful"}
    record(
        Collect(
            "mujoco/Reach", demonstrations=1, style=CLEAN, options=options, out=tmp_path, **shown
        )
    )
    with EpisodeStore(tmp_path / "episodes", mode="r") as store:
        assert store.read(0).metadata["rendering_profile"] == "faithful"
    with pytest.raises(
        RoboError, match="--options got 'profile=fast'; expected a name and a value"
    ):
        record(Collect(options={"profile=fast": True}, out=tmp_path / "other"))


@pytest.mark.parametrize("text", ["sideways", "beside:many", "beside:", ":3"])
def test_failures_that_do_not_parse(tmp_path, text):
    config = Collect(failures=(text,), out=tmp_path)
    if text == "beside:":
        assert config._failure_counts() == [("beside", 1)]
        return
    with pytest.raises(RoboError, match="NAME:COUNT"):
        record(config)
    assert not (tmp_path / "episodes").exists()


def test_an_expert_too_noisy_to_succeed_is_refused(tmp_path):
    config = Collect(
        demonstrations=1,
        style=ExpertStyle(noise=50.0),
        views=("front",),
        size=8,
        stride=60,
        num_envs=64,
        out=tmp_path,
    )
    with pytest.raises(RoboError, match="make the style cleaner"):
        record(config)


def test_unknown_task_and_task_without_expert(tmp_path):
    with pytest.raises(RoboError, match="Lyft"):
        Collect("mujoco/Lyft", out=tmp_path).run()
    with pytest.raises(RoboError):
        Collect("gym/CartPole-v1", out=tmp_path).run()


def test_a_success_by_accident_is_no_demonstration():
    phases = ("grasp", "lift")
    whole = SimpleNamespace(success=True, keyframes={"grasp": 3, "lift": 8})
    accident = SimpleNamespace(success=True, keyframes={})
    failure = SimpleNamespace(success=False, keyframes={"closest": 2})
    assert fits(whole, "expert", phases) and not fits(accident, "expert", phases)
    assert fits(accident, "expert", ()), "an expert without phases has nothing to count"
    assert not fits(failure, "expert", phases) and fits(failure, "beside", phases)
    assert not fits(whole, "beside", phases)


def test_options_are_checked(tmp_path: Path):
    with pytest.raises(RoboError, match="mujoco/Reach has no option horizon"):
        record(Collect("mujoco/Reach", options={"horizon": 5}, out=tmp_path))
    with pytest.raises(RoboError, match="a space between them"):
        Collect("mujoco/Reach", options={"horizon=5": 1}, out=tmp_path).run()
    with pytest.raises(RoboError, match="as they were made"):
        record(Collect("robosuite/Lift", "human", options={"horizon": 5}, out=tmp_path))
