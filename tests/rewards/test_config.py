"""From settings to rewards, and one sentence for settings that cannot work."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from robo.errors import CheckpointError
from robo.rewards.config import RewardConfig, RewardConfigError, make_reward, shape
from robo.rewards.grm.compact import CompactGRM, CompactGRMConfig
from robo.rewards.potential import SignalPotential
from robo.rewards.shaping import ShapedReward, ShapingError
from robo.rewards.success import EnvironmentReward, SuccessReward
from robo.rewards.threshold import GRMThresholdReward
from robo.rollout import CameraSchedule, FinalObservation, Frames, Rollout


def test_kinds_without_a_model():
    assert isinstance(make_reward(RewardConfig(), 0.99, "bootstrap"), EnvironmentReward)
    assert isinstance(make_reward(RewardConfig(kind="success"), 0.99, "keep"), SuccessReward)


def test_grm_needs_a_folder(tmp_path: Path):
    with pytest.raises(RewardConfigError, match="robo fit grm"):
        make_reward(RewardConfig(kind="grm"), 0.99, "keep")
    with pytest.raises(CheckpointError, match="does not exist"):
        make_reward(RewardConfig(kind="grm", grm=tmp_path / "none"), 0.99, "keep")


def test_shape_reads_gold_weight_gamma_and_timeout():
    reward = shape(RewardConfig(weight=0.5), SignalPotential(), 0.98, "keep")
    assert isinstance(reward, ShapedReward)
    assert isinstance(reward.gold, SuccessReward)
    assert (reward.gamma, reward.timeout, reward.weight) == (0.98, "keep", 0.5)


def test_gold_from_the_grm_shares_its_potential():
    config = RewardConfig(gold="grm", gold_threshold=0.1)
    reward = shape(config, SignalPotential(), 0.98, "bootstrap")
    assert isinstance(reward.gold, GRMThresholdReward)
    assert reward.gold.potential is reward.potential
    assert reward.gold.delta == 0.1
    assert reward.critic_feature_dim == 3


@pytest.mark.parametrize(
    "change", [{"stride": 0}, {"weight": -0.1}, {"gold_threshold": 1.0}, {"weight": float("nan")}]
)
def test_values_out_of_range_are_refused(change):
    with pytest.raises(RewardConfigError, match=next(iter(change))):
        dataclasses.replace(RewardConfig(), **change)


def test_keep_refuses_a_weight_that_lets_a_failure_win():
    with pytest.raises(RewardConfigError, match="at most 1"):
        shape(RewardConfig(weight=1.5), SignalPotential(), 0.99, "keep")
    with pytest.raises(ShapingError, match="gamma"):
        shape(RewardConfig(), SignalPotential(), 0.0, "keep")


def rollout_with_frames(begin, end, images):
    """Steps of one open episode of one environment, with a frame every second step."""
    steps = torch.arange(begin + begin % 2, end + 1, 2)
    zeros, none = torch.zeros(end - begin, 1), torch.zeros(end - begin, 1, dtype=torch.bool)
    same = torch.zeros_like(steps)
    frames = Frames({"front": images[steps]}, steps - begin, same, same + 5, same > 0)
    empty = torch.zeros(0, dtype=torch.int64)
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, empty, empty),
        action=zeros[..., None],
        log_prob=zeros,
        env_reward=zeros,
        terminated=none,
        truncated=none,
        success=none,
        episode=torch.full((end - begin, 1), 5),
        episodes={},
        frames=frames,
    ).check()


@pytest.mark.parametrize("mode", ["backward", "forward", "incremental", "mean"])
def test_a_saved_grm_shapes_success_whatever_the_cut(tmp_path: Path, mode):
    torch.manual_seed(0)
    grm = CompactGRM(CompactGRMConfig(views=("front",), height=32, width=32))
    images = torch.randint(0, 256, (9, 32, 32, 3), dtype=torch.uint8)
    grm.reference = {"start": {"front": images[:1]}, "goal": {"front": images[-1:]}}
    grm.save(tmp_path / "grm")
    config = RewardConfig(kind="grm", grm=tmp_path / "grm", mode=mode, stride=2)

    def total(*edges):
        reward = make_reward(config, 0.99, "keep")
        assert reward.camera == CameraSchedule(("front",), 32, 32, 2)
        parts = [rollout_with_frames(*piece, images) for piece in pairwise(edges)]
        return torch.cat([reward(part).total for part in parts])

    assert torch.allclose(total(0, 8), total(0, 4, 8), atol=1e-6)
    assert torch.allclose(total(0, 8), total(0, 3, 8), atol=1e-6)
