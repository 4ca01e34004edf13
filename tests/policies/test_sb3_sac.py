"""SAC of SB3 on our environments: trains, saves, goes on, acts."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

import robo
from robo.errors import CheckpointError, RoboError
from robo.policies.recorder import record_episodes
from robo.policies.sac_config import SacConfig
from robo.policies.sb3 import sb3_vec_env
from robo.policies.sb3_sac import DrivingExtractor, SacActor, load, make_sac, train_sac
from robo.rewards.success import EnvironmentReward

TINY = SacConfig(
    buffer_size=400, batch_size=16, train_freq=8, gradient_steps=2, learning_starts=32, hidden=(8,)
)
BOX = gymnasium.spaces.Box


def space(size):
    return gymnasium.spaces.Dict(
        {
            "state": BOX(-1, 1, (3,), np.float32),
            "birdseye": BOX(0, 255, (6, size, size), np.uint8),
            "critic_state": BOX(-1, 1, (4,), np.float32),
        }
    )


@pytest.mark.parametrize("size", [16, 64, 192])
def test_the_network_reads_any_raster_and_nothing_privileged(size):
    extractor = DrivingExtractor(space(size), features=32)
    seen = {"state": torch.rand(2, 3), "birdseye": torch.rand(2, 6, size, size)}
    found = extractor(seen)
    assert found.shape == (2, 35) == (2, extractor.features_dim)
    assert torch.equal(extractor({**seen, "critic_state": torch.rand(2, 4)}), found)


@pytest.mark.slow
def test_it_trains_goes_on_and_acts(tmp_path):
    env = sb3_vec_env(robo.make_vec("mujoco/Reach", 2))
    model, result = train_sac(env, EnvironmentReward(), TINY, 96, tmp_path, seed=1)
    assert result["steps"] == 96 and result["replay_steps"] == 96
    again = load(tmp_path / "checkpoints")
    ours, theirs = (one.get_parameters()["policy"] for one in (model, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with pytest.raises(RoboError, match="--resume"):
        train_sac(env, EnvironmentReward(), TINY, 96, tmp_path)
    more, result = train_sac(env, EnvironmentReward(), TINY, 160, tmp_path, resume=True)
    assert result["steps"] == 160
    episodes = record_episodes(env.env, SacActor(more), [1, 2])
    assert [len(episode.action[0]) for episode in episodes] == [4, 4]
    env.close()


def test_the_rate_falls_with_the_square(tmp_path):
    env = sb3_vec_env(robo.make_vec("mujoco/Reach", 1))
    rate = make_sac(env, SacConfig(buffer_size=10)).lr_schedule
    env.close()
    assert [rate(left) for left in (1.0, 0.5, 0.0)] == pytest.approx(
        [1e-4, 5e-7 + (1e-4 - 5e-7) / 4, 5e-7]
    )


def test_what_cannot_be(tmp_path):
    with pytest.raises(CheckpointError, match=r"no sac\.zip"):
        load(tmp_path)
    (tmp_path / "sac.zip").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        load(tmp_path)
    for settings in ({"train_freq": 0}, {"learning_rate": 1e-8}):
        with pytest.raises(RoboError):
            SacConfig(**settings)
