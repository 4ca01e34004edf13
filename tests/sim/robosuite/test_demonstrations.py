"""The human demonstrations that robosuite 1.4 carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo.commands.collect import Collect, record
from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.sim.robosuite.demonstrations import human_episodes


@pytest.mark.slow
def test_human_lifts_as_collected(robosuite: Any, lift: Any, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    if robosuite.__version__ != "1.4.0":
        pytest.skip("robosuite 1.4.0 alone carries demonstrations")
    config = Collect("robosuite/Lift", "human", views=("front",), size=24, stride=100, out=tmp_path)
    assert record(config)["demonstrations"] == 3
    with EpisodeStore(tmp_path / "episodes", mode="r") as store:
        episodes = list(store)
    assert [len(episode) for episode in episodes] == [471, 499, 381]
    height = lift.state_layout["cube_pos"].start + 2
    for episode in episodes:
        assert episode.success and episode.reward.sum() == episode.reward[-1] == 1
        assert episode.metadata["actor"] == "human"
        assert list(episode.keyframes) == ["grasp", "lift"]
        states = episode.observation["state"]
        assert states.shape == (len(episode) + 1, *lift.observation_space["state"].shape)
        # Success is 4 cm above the table at 0.8 m, in the last state and in none before.
        assert states[-1, height] > 0.84 > states[:-1, height].max()
        assert np.abs(episode.action).max() <= 1
        assert set(episode.frames) == {"front"}
        assert list(episode.frame_step[:2]) == [0, 100] and episode.frame_step[-1] == len(episode)
        assert not np.array_equal(episode.frames["front"][0], episode.frames["front"][-1])


def test_there_are_none_of_other_tasks(tmp_path: Path) -> None:
    with pytest.raises(RoboError, match="no human recordings of robosuite/Stack; use --task"):
        record(Collect("robosuite/Stack", "human", out=tmp_path))


def test_without_cameras_nothing_is_rendered(robosuite: Any) -> None:
    pytest.importorskip("h5py")
    if robosuite.__version__ != "1.4.0":
        pytest.skip("robosuite 1.4.0 alone carries demonstrations")
    episode = next(human_episodes())
    assert episode.frames == {} and len(episode.frame_step) == 0
