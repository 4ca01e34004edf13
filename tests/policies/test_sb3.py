"""The bridge to Stable-Baselines3: environments, relabelled buffers, policies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import robo
from robo.errors import CheckpointError, MissingExtraError, RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.collector import Collector
from robo.policies.learner_config import NetworkConfig
from robo.rewards.potential import SignalPotential
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import EnvironmentReward, SuccessReward
from robo.rollout import CameraSchedule, EpisodeInfo, RewardTerms, Rollout
from robo.sim.contract import Environment
from robo.sim.in_process import InProcessVectorEnvironment

sb3 = pytest.importorskip("stable_baselines3")

from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.monitor import Monitor  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

from robo.policies.sb3 import (  # noqa: E402
    RelabelCallback,
    from_sb3,
    newest_slots,
    policy_keywords,
    sb3_vec_env,
    to_sb3,
)

ROOT = Path(__file__).parents[2]


class Counter(Environment):
    """Counts steps and episodes; its image shows its state, so that frames can be checked."""

    task = "test/Counter"
    cameras = ("front",)
    signal_names = ("progress",)
    observation_space = gymnasium.spaces.Dict(
        {"state": gymnasium.spaces.Box(0, 255, (3,), np.float32)}
    )
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, number: int) -> None:
        self.number, self.age, self.begun = number, 0, 0
        self.schedule: CameraSchedule | None = None
        self.pending: CameraSchedule | None = None

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        self.pending = schedule

    def episode_info(self) -> EpisodeInfo:
        return EpisodeInfo(self.task)

    def _state(self) -> np.ndarray:
        return np.array([self.number, self.begun, self.age], np.float32)

    def _frames(self, done: bool = False) -> dict[str, Any]:
        if self.schedule is None or (self.age % self.schedule.stride and not done):
            return {}
        shape = (self.schedule.height, self.schedule.width, 1)
        return {"frames": {"front": np.tile(self._state().astype(np.uint8), shape)}}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.schedule = self.pending
        self.age, self.begun = 0, self.begun + 1
        info = {"instruction": "", "initial_state": None, **self._frames()}
        return {"state": self._state()}, info

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self.age += 1
        done = self.age == 4 + self.number
        success = done and self.number == 1
        info = {"success": success, "signals": {"progress": self.age / 10}, **self._frames(done)}
        return {"state": self._state()}, 1.0, success, done and not success, info


def counters(count: int = 3) -> InProcessVectorEnvironment:
    return InProcessVectorEnvironment([partial(Counter, number) for number in range(count)])


class FrameReward(EnvironmentReward):
    """Pays what the frame of the state after a step shows: 100 begun + age + number / 10."""

    def __init__(self, stride: int = 1) -> None:
        self.camera = CameraSchedule(("front",), 2, 2, stride)
        self.rollouts: list[Rollout] = []

    def __call__(self, rollout: Rollout) -> RewardTerms:
        rollout.check()
        self.rollouts.append(rollout)
        frames = rollout.frames
        assert frames is not None
        total = torch.full(rollout.shape, torch.nan)
        shown = frames.views["front"][:, 0, 0].float()
        paid = 100 * shown[:, 1] + shown[:, 2] + shown[:, 0] / 10
        step, env = frames.step - 1, frames.env
        after = (step >= 0) & (
            frames.final | (frames.episode == rollout.episode[step.clamp(min=0), env])
        )
        total[step[after], env[after]] = paid[after]
        return RewardTerms(total, {"shown": total})


def paid(state: Any) -> np.ndarray:
    return 100 * state[..., 1] + state[..., 2] + state[..., 0] / 10


class Before(BaseCallback):
    """Copies of SB3's own numbers, before anything is relabelled."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[dict[str, np.ndarray]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.locals["rollout_buffer"]
        names = ("rewards", "returns", "advantages", "values", "episode_starts")
        self.kept.append({name: getattr(buffer, name).copy() for name in names})


class After(Before):
    """The same after it."""


def ppo(env: Any, **options: Any) -> Any:
    numbers: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "gamma": 0.9}
    numbers |= {"seed": 0, "device": "cpu"}
    policy = "MlpPolicy" if env.observation_space.shape else "MultiInputPolicy"
    return sb3.PPO(options.pop("policy", policy), env, **{**numbers, **options})


# --- environments -----------------------------------------------------------------------------


def test_environment_is_that_of_monitored_gymnasium_environments() -> None:
    """Same seeds and actions: observations, ends, terminal observations and statistics agree."""
    options = {"max_episode_steps": 14}
    ours = sb3_vec_env(robo.make_vec("gym/CartPole-v1", 3, "in_process", **options), "state")
    theirs = DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1", **options))] * 3)
    draw = np.random.default_rng(0)
    ours.seed(4)
    theirs.seed(4)
    np.testing.assert_allclose(ours.reset(), theirs.reset())
    ended = {"time-out": 0, "end": 0}
    for _ in range(120):
        action = draw.integers(0, 2, 3)
        mine, other = ours.step(action), theirs.step(action)
        for index in range(3):
            np.testing.assert_allclose(mine[index], other[index])
        for row, (a, b) in enumerate(zip(mine[3], other[3], strict=True)):
            assert a["TimeLimit.truncated"] == b["TimeLimit.truncated"]
            assert ("episode" in a) == ("episode" in b) == bool(mine[2][row])
            if mine[2][row]:
                np.testing.assert_allclose(a["terminal_observation"], b["terminal_observation"])
                assert (a["episode"]["r"], a["episode"]["l"]) == (
                    b["episode"]["r"],
                    b["episode"]["l"],
                )
                ended["time-out" if a["TimeLimit.truncated"] else "end"] += 1
    assert min(ended.values()) > 0
    ours.close()


def test_success_and_signals_are_given_and_logged() -> None:
    env = sb3_vec_env(robo.make_vec("mujoco/Reach", 4))
    model = ppo(env)
    model.learn(64)
    info = env.step(np.zeros((4, *env.action_space.shape), np.float32))[3][0]
    assert set(info["signals"]) == set(env.env.signal_names) and info["is_success"] is False
    assert len(evaluate_policy(model, env, 2, return_episode_rewards=True)[0]) == 2
    env.close()


def test_evaluation_needs_no_monitor() -> None:
    env = sb3_vec_env(counters(), "state")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, _ = evaluate_policy(ppo(env), env, 3)
    assert mean == pytest.approx((4 + 5 + 6) / 3)


def test_rewards_given_to_sb3_are_its_own() -> None:
    """SB3 adds bootstrapped values to them in place."""
    env = sb3_vec_env(counters())
    env.reset()
    reward = env.step(np.zeros((3, 1), np.float32))[1]
    reward += 5.0
    assert env.last_step is not None and (env.last_step.reward == 1.0).all()


def test_unknown_observation_is_refused() -> None:
    with pytest.raises(RoboError, match=r"no observation 'image'; choose 'dict' or one of"):
        sb3_vec_env(counters(), "image")


# --- on-policy --------------------------------------------------------------------------------


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


# --- off-policy -------------------------------------------------------------------------------


def sac(env: Any, **options: Any) -> Any:
    numbers: dict[str, Any] = {
        "buffer_size": 60,
        "train_freq": 7,
        "gradient_steps": 1,
        "learning_starts": 10,
        "batch_size": 8,
        "seed": 0,
        "device": "cpu",
        "gamma": 0.9,
        "policy_kwargs": {"net_arch": [8]},
    }
    policy = "MlpPolicy" if env.observation_space.shape else "MultiInputPolicy"
    return sb3.SAC(policy, env, **{**numbers, **options})


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


# --- SB3's own wrappers ------------------------------------------------------------------------


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


def test_missing_package_is_named() -> None:
    script = (
        "import sys; sys.modules['stable_baselines3'] = None\n"
        "from robo.errors import MissingExtraError\n"
        "try:\n    import robo.policies.sb3\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert "install robo-rewards[sb3]" in done.stdout, done.stderr
    assert issubclass(MissingExtraError, ImportError)


# --- policies ---------------------------------------------------------------------------------


def our_policy(discrete: bool, activation: Any = "tanh", seen: bool = False) -> ActorCritic:
    space = gymnasium.spaces.Dict(state=gymnasium.spaces.Box(-np.inf, np.inf, (5,), np.float32))
    box = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(4) if discrete else box
    policy = ActorCritic(space, action_space, NetworkConfig((16, 12), activation, 0.4), seed=2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    if seen:
        policy.normaliser.update(np.random.default_rng(0).normal(3, 4, (200, 5)))
    return policy


def assert_equal_policies(ours: ActorCritic, theirs: Any, wrap: bool = False) -> None:
    draw = np.random.default_rng(1)
    state = draw.normal(3, 20, (50, 5)).astype(np.float32)
    given: Any = {"state": torch.from_numpy(state)} if wrap else torch.from_numpy(state)
    action, log_prob = ours.act({"state": state}, draw, deterministic=True)
    with torch.no_grad():
        value, their_log_prob, entropy = theirs.evaluate_actions(given, torch.from_numpy(action))
        own = ours.evaluate({"state": torch.from_numpy(state)}, torch.from_numpy(action))
    predicted, _ = theirs.predict({"state": state} if wrap else state, deterministic=True)
    np.testing.assert_allclose(predicted, ours.environment_action(action), atol=1e-6)
    np.testing.assert_allclose(value[:, 0], own[2], atol=2e-6, rtol=1e-6)
    np.testing.assert_allclose(their_log_prob, log_prob, atol=2e-6, rtol=1e-6)
    np.testing.assert_allclose(entropy, own[1], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("observation", ["state", "dict"])
def test_policies_go_there_and_back(discrete: bool, seen: bool, observation: str) -> None:
    ours = our_policy(discrete, "elu" if seen else "tanh", seen)
    theirs = to_sb3(ours, observation)
    assert_equal_policies(ours, theirs, observation == "dict")
    back = from_sb3(theirs)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[name]), name
    assert back.config.hidden == (16, 12) and back.config.activation == ours.config.activation


def test_exported_weights_train_on_in_a_model(tmp_path: Path) -> None:
    env = sb3_vec_env(robo.make_vec("gym/CartPole-v1", 2, "in_process"), "state")
    ours = ActorCritic(
        gymnasium.spaces.Dict(state=env.observation_space), env.action_space, NetworkConfig((16,))
    )
    ours.normaliser.update(np.random.default_rng(0).normal(0, 0.1, (100, 4)))
    model = ppo(env, policy_kwargs=policy_keywords(ours))
    model.policy.load_state_dict(to_sb3(ours).state_dict())
    model.learn(32)
    model.save(tmp_path / "model.zip")
    back = from_sb3(tmp_path / "model.zip")
    state = np.random.default_rng(1).normal(0, 0.1, (30, 4)).astype(np.float32)
    chosen, _ = back.act({"state": state}, np.random.default_rng(0), deterministic=True)
    np.testing.assert_array_equal(chosen, model.predict(state, deterministic=True)[0])
    env.close()


def test_import_takes_the_statistics_of_vec_normalize() -> None:
    env = VecNormalize(
        sb3_vec_env(robo.make_vec("gym/Pendulum-v1", 2, "in_process"), "state"), norm_reward=False
    )
    model = ppo(env)
    model.learn(64)
    ours = from_sb3(model)
    state = np.random.default_rng(0).normal(0, 2, (40, 3)).astype(np.float32)
    action, _ = ours.act({"state": state}, np.random.default_rng(0), deterministic=True)
    expected, _ = model.predict(env.normalize_obs(state), deterministic=True)
    np.testing.assert_allclose(ours.environment_action(action), expected, atol=1e-6)
    env.close()


def test_import_of_an_a2c_file(tmp_path: Path) -> None:
    env = sb3_vec_env(robo.make_vec("gym/Pendulum-v1", 2, "in_process"))
    model = sb3.A2C("MultiInputPolicy", env, device="cpu", policy_kwargs={"net_arch": [8]})
    model.learn(20)
    model.save(tmp_path / "a2c")
    ours = from_sb3(tmp_path / "a2c")
    state = np.random.default_rng(0).normal(0, 2, (40, 3)).astype(np.float32)
    action, _ = ours.act({"state": state}, np.random.default_rng(0), deterministic=True)
    expected, _ = model.predict({"state": state}, deterministic=True)
    np.testing.assert_allclose(ours.environment_action(action), expected, atol=1e-6)
    env.close()


def test_policies_without_a_counterpart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no SB3 model"):
        from_sb3(tmp_path / "none.zip")
    (tmp_path / "bad.zip").write_bytes(b"not a zip")
    with pytest.raises(CheckpointError, match="cannot be read"):
        from_sb3(tmp_path / "bad.zip")
    env = sb3_vec_env(counters(), "state")
    with pytest.raises(RoboError, match=r"actor \(8,\), critic \(9,\)"):
        from_sb3(ppo(env, policy_kwargs={"net_arch": {"pi": [8], "vf": [9]}}))
    with pytest.raises(RoboError, match="gSDE True"):
        from_sb3(ppo(env, use_sde=True))
    with pytest.raises(RoboError, match="not an actor-critic"):
        from_sb3(sac(env))
    features = ActorCritic(
        gymnasium.spaces.Dict(state=env.observation_space), env.action_space, critic_feature_dim=2
    )
    with pytest.raises(RoboError, match="reads 2 features from the reward"):
        to_sb3(features)


# --- the page, and that it learns -------------------------------------------------------------


def test_snippets_of_the_page_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "stable_baselines3.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(snippets) >= 3
    code = "\n".join(snippets)
    assert "100_000" in code
    short = code.replace("100_000", "256").replace("num_envs=8", "num_envs=2")
    short = short.replace('Policy", env)', 'Policy", env, n_steps=64)')
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", short],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert lines is not None
    body = [line for line in lines[1].splitlines() if line and "import" not in line]
    assert len(body) == 3


@pytest.mark.slow
def test_sb3_learns_reach_from_a_reward_of_ours() -> None:
    torch.set_num_threads(1)
    env = sb3_vec_env(robo.make_vec("mujoco/Reach", 8), "state")
    reward = ShapedReward(SuccessReward(), SignalPotential("progress"), 0.97)
    model = ppo(
        env,
        n_steps=128,
        batch_size=256,
        n_epochs=10,
        gamma=0.97,
        learning_rate=1e-3,
        policy_kwargs={"log_std_init": -0.5},
    )
    successes: list[float] = []

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            ends = np.flatnonzero(self.locals["dones"])
            successes.extend(float(self.locals["infos"][row]["is_success"]) for row in ends)
            return True

    with pytest.warns(UserWarning, match="features for the critic"):
        model.learn(12_000, callback=[RelabelCallback(reward), Watch()])
    env.close()
    early, late = np.mean(successes[:30]), np.mean(successes[-100:])
    assert early < 0.6 and late > 0.9


@pytest.mark.slow
def test_sb3_learns_cartpole_through_the_bridge() -> None:
    torch.set_num_threads(1)
    env = sb3_vec_env(robo.make_vec("gym/CartPole-v1", 8, "in_process"), "state")
    model = ppo(env, n_steps=64, batch_size=64, n_epochs=10, gamma=0.98, learning_rate=1e-3)
    lengths: list[int] = []

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            infos = self.locals["infos"]
            lengths.extend(info["episode"]["l"] for info in infos if "episode" in info)
            return True

    model.learn(10_000, callback=[RelabelCallback(EnvironmentReward()), Watch()])
    env.close()
    assert np.mean(lengths[-20:]) > 2.5 * np.mean(lengths[:20])
