"""Episodes rendered anew: from states, from seeds, in parallel, resumed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from robo.data import EpisodeStore
from robo.policies.recorder import stream_episodes
from robo.policies.replay import Replayer, replay
from robo.policies.replay_config import ReplayConfig
from robo.rollout import CameraSchedule
from robo.sim.experts import make_expert
from robo.sim.mujoco.expert import ExpertStyle
from robo.sim.registry import make_vec


@pytest.fixture(name="source")
def source_fixture(tmp_path):
    """Three short episodes of mujoco/Reach with small frames."""
    store = EpisodeStore(tmp_path / "source")
    env = make_vec("mujoco/Reach", 3)
    actor = make_expert("mujoco/Reach", ExpertStyle(), 0)
    store.extend(stream_episodes(env, actor, [5, 6, 7], CameraSchedule(("front",), 24, 24, 4)))
    env.close()
    return store


def test_the_same_cameras_give_the_same_pictures(source, tmp_path):
    config = ReplayConfig(("front",), 24, 4)
    assert replay(str(source.path), str(tmp_path / "same"), config).episodes == 3
    for again, original in zip(EpisodeStore(tmp_path / "same"), source, strict=True):
        assert np.array_equal(again.frames["front"], original.frames["front"])
        assert np.array_equal(again.frame_step, original.frame_step)
        assert again.metadata["replay"] == "actions"


def test_other_cameras_and_a_resumed_replay(source, tmp_path):
    config, target = ReplayConfig(("side", "wrist"), 32, 1), str(tmp_path / "other")
    assert replay(str(source.path), target, config, indices=[1]).episodes == 1
    seen = []
    done = replay(str(source.path), target, config, progress=lambda d, t: seen.append((d, t)))
    assert (done.episodes, done.earlier, done.failed) == (2, 1, {})
    assert seen == [(2, 3), (3, 3)]
    store = EpisodeStore(target, mode="r")
    assert [header.metadata["replayed"] for header in store.manifest.headers] == [1, 0, 2]
    for episode in store:
        original = source[episode.metadata["replayed"]]
        assert episode.frames["wrist"].shape == (len(episode) + 1, 32, 32, 3)
        assert np.array_equal(episode.observation["state"], original.observation["state"])


@pytest.mark.slow
def test_in_parallel(source, tmp_path):
    config, target = ReplayConfig(("front",), 24, 4), str(tmp_path / "same")
    assert replay(str(source.path), target, config, workers=2).episodes == 3
    store = EpisodeStore(target, mode="r")
    for episode in store:
        original = source[episode.metadata["replayed"]]
        assert np.array_equal(episode.frames["front"], original.frames["front"])


def test_an_episode_that_simulation_does_not_repeat_is_named(source, tmp_path):
    episode = source[0]
    episode.observation["state"][2] += 1
    changed = EpisodeStore(tmp_path / "changed")
    changed.append(episode)
    changed.append(
        dataclasses.replace(source[1], info=dataclasses.replace(source[1].info, seed=None))
    )
    done = replay(str(changed.path), str(tmp_path / "b"), ReplayConfig(("front",), 24))
    assert done.episodes == 0
    assert "another state at step 2" in done.failed[0]
    assert "neither simulator states" in done.failed[1]


@pytest.mark.slow
def test_recorded_states_of_robosuite(tmp_path):
    pytest.importorskip("robosuite")
    pytest.importorskip("h5py")
    from robosuite.models import assets_root

    from robo.data.formats.hdf5 import Hdf5Import
    from robo.sim.robosuite.demonstrations import human_episodes

    file = f"{assets_root}/demonstrations/lift/demo.hdf5"
    episode = next(iter(Hdf5Import(__import__("pathlib").Path(file))))
    task = "robosuite/Lift"
    replayer = Replayer(ReplayConfig(("front",), 32, 100, task=task))
    shown = replayer.render(episode)
    replayer.close()
    assert shown.metadata["replay"] == "states"
    truth = next(human_episodes(CameraSchedule(("front",), 32, 32, 100)))
    common = min(len(truth.frame_step), len(shown.frame_step)) - 1
    assert common > 3
    assert np.array_equal(shown.frames["front"][:common], truth.frames["front"][:common])
