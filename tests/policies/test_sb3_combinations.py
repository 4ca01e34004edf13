"""The bridge with shaped rewards, SB3's own wrappers and images, and what is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from robo.errors import RoboError
from robo.rewards.potential import SignalPotential
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import SuccessReward
from robo.rollout import RewardTerms, Rollout
from robo.sim.in_process import InProcessVectorEnvironment

sb3 = pytest.importorskip("stable_baselines3")

from stable_baselines3.common.vec_env import VecNormalize  # noqa: E402

from robo.policies.sb3 import RelabelCallback, sb3_vec_env  # noqa: E402
from tests.policies.sb3_helper import (  # noqa: E402
    After,
    Before,
    Counter,
    FrameReward,
    counters,
    paid,
    ppo,
    sac,
)


class KeptShaping(ShapedReward):
    """Keeps what it paid."""

    paid: list[torch.Tensor]

    def __call__(self, rollout: Rollout) -> RewardTerms:
        terms = super().__call__(rollout)
        self.paid.append(terms.total)
        return terms


def test_shaped_reward_is_the_same_whatever_the_rollouts_length() -> None:
    """A held potential's memory survives the cuts between rollouts."""
    totals = []
    for steps in (4, 6, 12):
        reward = KeptShaping(SuccessReward(), SignalPotential("progress", 3), 0.9)
        reward.paid = []
        model = ppo(sb3_vec_env(counters(), "state"), n_steps=steps, batch_size=3 * steps)
        with pytest.warns(UserWarning, match="features for the critic"):
            model.learn(12 * 3, callback=RelabelCallback(reward))
        totals.append(torch.cat(reward.paid))
    assert totals[0].abs().max() > 0.1
    assert torch.allclose(totals[0], totals[1]) and torch.allclose(totals[0], totals[2])


@pytest.mark.parametrize("make", [ppo, sac])
def test_observations_of_vec_normalize(make: Any) -> None:
    env = VecNormalize(sb3_vec_env(counters(), "state"), norm_reward=False)
    reward = FrameReward()
    model = make(env)
    model.learn(16 * 3 if make is ppo else 7 * 3 * 2, callback=RelabelCallback(reward))
    rollout = reward.rollouts[-1]
    final = rollout.final_observation
    assert len(final.step) > 0
    if make is ppo:
        # As the policy read them: the largest age is far below its number of steps.
        assert float(final.observation["state"][:, 2].max()) < 4
        return
    buffer = model.replay_buffer
    count = buffer.pos
    np.testing.assert_array_equal(buffer.rewards[:count], paid(buffer.next_observations[:count]))
    np.testing.assert_allclose(final.observation["state"][:, 2], 4 + final.env, rtol=1e-5)
    ages = rollout.last_observation["state"][:, 2]
    np.testing.assert_allclose(ages, ages.round())


class Seen(Counter):
    """Its policy sees an image too."""

    observation_space = gymnasium.spaces.Dict(
        {
            "state": gymnasium.spaces.Box(0, 255, (3,), np.float32),
            "image": gymnasium.spaces.Box(0, 255, (36, 40, 3), np.uint8),
        }
    )

    def reset(self, **options: Any) -> tuple[dict, dict]:
        observation, info = super().reset(**options)
        return {**observation, "image": self._image()}, info

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        observation, *rest = super().step(action)
        return {**observation, "image": self._image()}, *rest

    def _image(self) -> np.ndarray:
        return np.full((36, 40, 3), self.age, np.uint8)


@pytest.mark.parametrize("observation", ["dict", "image"])
def test_image_observations(observation: str) -> None:
    """SB3 puts the channels first; the rollout shows its arrays as they are, without a copy."""
    vector = InProcessVectorEnvironment([partial(Seen, number) for number in range(2)])
    env = sb3_vec_env(vector, observation)
    policy = "CnnPolicy" if observation == "image" else "MultiInputPolicy"
    model = ppo(env, policy=policy, n_steps=8, batch_size=8)
    before, after = Before(), After()
    reward = FrameReward()
    model.learn(16, callback=[before, RelabelCallback(reward), after])
    (rollout,) = reward.rollouts
    image, final = rollout.observation["image"], rollout.final_observation
    assert image.shape == (8, 2, 3, 36, 40) and image.dtype == torch.uint8
    assert (final.observation["image"][:, 0, 0, 0] == 4 + final.env).all()
    assert (after.kept[0]["rewards"] > 90).all() and (before.kept[0]["rewards"] < 90).all()


# --- what is refused --------------------------------------------------------------------------


def test_combinations_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    env = sb3_vec_env(counters(), "state")
    reward = SuccessReward()
    reward.gamma = 0.5
    with pytest.raises(RoboError, match=r"assumes gamma 0.5 but PPO has 0.9"):
        ppo(env).learn(16, callback=RelabelCallback(reward))
    reward = SuccessReward()
    reward.signals = ("speed",)
    with pytest.raises(RoboError, match=r"signals \['speed'\] that test/Counter does not give"):
        ppo(env).learn(16, callback=RelabelCallback(reward))
    reward = SuccessReward()
    reward.timeout = "keep"
    with pytest.raises(RoboError, match="time-out rule 'keep' but the replay buffer"):
        sac(env).learn(16, callback=RelabelCallback(reward))
    with pytest.raises(RoboError, match="norm_reward=False"):
        ppo(VecNormalize(env)).learn(16, callback=RelabelCallback(SuccessReward()))
    with pytest.raises(RoboError, match="make the environment with sb3_vec_env"):
        ppo(sb3.common.env_util.make_vec_env("CartPole-v1")).learn(
            16, callback=RelabelCallback(SuccessReward())
        )
    with pytest.raises(RoboError, match="NaN or infinity"):
        ppo(env).learn(16, callback=RelabelCallback(FrameReward(stride=3)))
