"""Rollout and replay buffers of Stable-Baselines3, scored by rewards of ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import robo
from robo.errors import RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.collector import Collector
from robo.rewards.success import EnvironmentReward, SuccessReward
from robo.rollout import RewardTerms, Rollout

sb3 = pytest.importorskip("stable_baselines3")

from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402

from robo.policies.sb3 import RelabelCallback, newest_slots, sb3_vec_env  # noqa: E402
from tests.policies.sb3_helper import (  # noqa: E402
    After,
    Before,
    FrameReward,
    counters,
    paid,
    ppo,
    sac,
)


@pytest.mark.parametrize("observation", ["dict", "state"])
def test_environment_reward_changes_no_number(observation: str) -> None:
    model = ppo(sb3_vec_env(counters(), observation))
    before, after = Before(), After()
    model.learn(16 * 3 * 3, callback=[before, RelabelCallback(EnvironmentReward()), after])
    assert len(before.kept) == 3
    for one, other in zip(before.kept, after.kept, strict=True):
        assert one["rewards"].max() != 1.0  # time-outs were bootstrapped
        for name in one:
            np.testing.assert_allclose(one[name], other[name], atol=1e-6, err_msg=name)


def test_bootstrap_of_a_timeout_survives_relabelling() -> None:
    model = ppo(sb3_vec_env(counters(), "state"))
    reward, before, after = FrameReward(), Before(), After()
    model.learn(16 * 3, callback=[before, RelabelCallback(reward), after])
    (rollout,) = reward.rollouts
    own, relabelled = before.kept[0]["rewards"], after.kept[0]["rewards"]
    following = rollout.observation["state"][1:].numpy()
    plain = ~rollout.done[:-1].numpy()
    np.testing.assert_array_equal(relabelled[:-1][plain], paid(following)[plain])
    final = rollout.final_observation
    for step, env, state in zip(
        final.step.tolist(), final.env.tolist(), final.observation["state"], strict=True
    ):
        bootstrap = own[step, env] - 1.0  # SB3's own: the environment pays 1 per step
        assert (abs(bootstrap) > 1e-3) == bool(rollout.truncated[step, env])
        assert relabelled[step, env] == pytest.approx(paid(state.numpy()) + bootstrap, abs=1e-4)
    assert {0, 2} <= set(final.env[rollout.truncated[final.step, final.env]].tolist())


def test_advantages_are_those_of_the_relabelled_rewards() -> None:
    model = ppo(sb3_vec_env(counters(), "state"), gae_lambda=0.7)
    after = After()
    model.learn(16 * 3, callback=[RelabelCallback(FrameReward()), after])
    kept = after.kept[0]
    running, advantage = np.zeros(3), np.zeros((16, 3))
    for t in range(14, -1, -1):
        going = 1 - kept["episode_starts"][t + 1]
        delta = kept["rewards"][t] + 0.9 * going * kept["values"][t + 1] - kept["values"][t]
        if t == 14:  # the last row's own depends on s_T: take it as given
            running = kept["advantages"][15]
        running = delta + 0.9 * 0.7 * going * running
        advantage[t] = running
    np.testing.assert_allclose(kept["advantages"][:15], advantage[:15], rtol=1e-4)
    np.testing.assert_allclose(kept["returns"], kept["advantages"] + kept["values"], rtol=1e-5)


def test_keep_rule_is_not_bootstrapped() -> None:
    reward = SuccessReward()
    reward.timeout = "keep"
    after = After()
    model = ppo(sb3_vec_env(counters()))
    model.learn(16 * 3, callback=[RelabelCallback(reward), after])
    assert set(np.unique(after.kept[0]["rewards"])) == {0.0, 1.0}


def test_rollout_is_that_of_our_collector() -> None:
    """Frames, ids, signals, ends; over three rollouts with episodes left open between them."""
    seen: list[Rollout] = []

    class Shown(FrameReward):
        def __call__(self, rollout: Rollout) -> RewardTerms:
            seen.append(rollout)
            return RewardTerms(rollout.env_reward, {})

    model = ppo(sb3_vec_env(counters(), "state"), n_steps=7, batch_size=7)
    reward = Shown(stride=3)
    callback = RelabelCallback(reward)
    model.learn(7 * 3, callback=callback)
    model.learn(7 * 3 * 2, callback=callback, reset_num_timesteps=False)
    env = counters()
    # `begun` goes on from the resets that SB3 and the camera schedule caused.
    env.reset(seed=0)
    policy = ActorCritic(env.single_observation_space, env.single_action_space)  # type: ignore[arg-type]
    collector = Collector(env, policy, 7, camera=reward.camera)
    assert len(seen) == 3
    names: dict[int, int] = {}  # of an episode, in the bridge and in the collector

    def renamed(ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        names.update(
            (theirs, mine)
            for theirs, mine in zip(ids.flatten().tolist(), wanted.flatten().tolist(), strict=True)
            if theirs not in names
        )
        return torch.tensor([names[one] for one in ids.flatten().tolist()]).view(ids.shape)

    for rollout in seen:
        ours = collector.collect()
        assert rollout.frames is not None and ours.frames is not None
        for name in ("step", "env", "final"):
            assert torch.equal(getattr(rollout.frames, name), getattr(ours.frames, name))
        assert torch.equal(
            renamed(rollout.frames.episode, ours.frames.episode), ours.frames.episode
        )
        assert torch.equal(rollout.frames.views["front"], ours.frames.views["front"])
        assert torch.equal(renamed(rollout.episode, ours.episode), ours.episode)
        for name in ("terminated", "truncated", "success", "env_reward"):
            assert torch.equal(getattr(rollout, name), getattr(ours, name))
        assert torch.equal(rollout.observation["state"], ours.observation["state"])
        assert torch.equal(rollout.last_observation["state"], ours.last_observation["state"])
        final, other = rollout.final_observation, ours.final_observation
        assert torch.equal(final.observation["state"], other.observation["state"])
        assert torch.equal(rollout.signals["progress"], ours.signals["progress"])
        assert {names[k] for k in rollout.episodes} == set(ours.episodes)
    assert len(set(names.values())) == len(names)


def test_observations_are_views_of_the_buffer() -> None:
    model = ppo(sb3_vec_env(counters()))
    shared: list[bool] = []

    class Look(FrameReward):
        def __call__(self, rollout: Rollout) -> RewardTerms:
            ours, theirs = rollout.observation["state"].numpy(), model.rollout_buffer.observations
            shared.append(np.shares_memory(ours, theirs["state"]))
            return super().__call__(rollout)

    callback = RelabelCallback(Look())
    model.learn(16 * 3, callback=callback)
    assert shared == [True]
    assert callback.last_rollout is not None and callback.last_rollout.frames is None


def test_open_episodes_that_the_reward_did_not_see_are_dropped() -> None:
    env = sb3_vec_env(counters(), "state")
    model = ppo(env, n_steps=6, batch_size=6)
    model.learn(6 * 3)
    reward = FrameReward()
    model.learn(6 * 3, callback=RelabelCallback(reward), reset_num_timesteps=False)
    assert env.resets == 2 and (reward.rollouts[0].observation["state"][0, :, 2] == 0).all()


@pytest.mark.parametrize("observation", ["dict", "state"])
@pytest.mark.parametrize("timeouts", [True, False])
def test_every_slot_holds_the_score_of_its_step(observation: str, timeouts: bool) -> None:
    """Several environments, wrap-around and episode ends; ``next_observations`` say the truth."""
    env = sb3_vec_env(counters(), observation)
    options = {"handle_timeout_termination": timeouts}
    model = sac(env, replay_buffer_kwargs=options)
    reward = FrameReward()
    model.learn(7 * 3 * 9, callback=RelabelCallback(reward))
    buffer = model.replay_buffer
    assert buffer.full and buffer.pos % 7 != 0 and len(reward.rollouts) == 9
    following = buffer.next_observations
    state = following["state"] if observation == "dict" else following
    np.testing.assert_array_equal(buffer.rewards, paid(state))
    ended = buffer.dones.astype(bool)
    assert ended.any() and bool(buffer.timeouts[ended].any()) == timeouts
    for rollout in reward.rollouts[-2:]:
        assert rollout.shape == (7, 3)
        again = rollout.observation["state"][1:]
        going = ~rollout.done[:-1]
        assert torch.equal(again[going][:, 2], rollout.observation["state"][:-1][going][:, 2] + 1)


def test_memory_saving_buffer_is_relabelled() -> None:
    model = sac(
        sb3_vec_env(counters(), "state"),
        optimize_memory_usage=True,
        replay_buffer_kwargs={"handle_timeout_termination": False},
    )
    model.learn(7 * 3 * 9, callback=RelabelCallback(FrameReward()))
    assert (model.replay_buffer.rewards > 100).all()


def test_stopping_in_mid_rollout_leaves_no_unscored_step() -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls != 11

    model = sac(sb3_vec_env(counters(), "state"))
    reward = FrameReward()
    model.learn(1000, callback=[Stop(), RelabelCallback(reward)])
    buffer = model.replay_buffer
    assert buffer.pos == 10
    np.testing.assert_array_equal(buffer.rewards[:10], paid(buffer.next_observations[:10]))
    model.learn(7 * 3, callback=RelabelCallback(reward), reset_num_timesteps=False)
    np.testing.assert_array_equal(buffer.rewards[:17], paid(buffer.next_observations[:17]))


def test_newest_slots_wrap_and_refuse_what_was_overwritten() -> None:
    model = sac(sb3_vec_env(counters(), "state"), learning_starts=1000)
    buffer = model.replay_buffer
    model.learn(7 * 3 * 3)
    assert buffer.buffer_size == 20 and buffer.pos == 1
    np.testing.assert_array_equal(newest_slots(buffer, 3), [18, 19, 0])
    assert newest_slots(buffer, 1) == slice(0, 1)
    with pytest.raises(RoboError, match=r"21 steps were collected .* holds 20"):
        newest_slots(buffer, 21)


def test_discrete_actions_of_dqn() -> None:
    env = sb3_vec_env(robo.make_vec("gym/CartPole-v1", 2, "in_process"), "state")
    model = sb3.DQN("MlpPolicy", env, train_freq=5, learning_starts=4, buffer_size=40, device="cpu")

    class Chosen(EnvironmentReward):
        def __call__(self, rollout: Rollout) -> RewardTerms:
            total = 10.0 + rollout.action.float()
            return RewardTerms(total, {})

    model.learn(60, callback=RelabelCallback(Chosen()))
    buffer = model.replay_buffer
    np.testing.assert_array_equal(buffer.rewards, 10.0 + buffer.actions[..., 0])
    env.close()
