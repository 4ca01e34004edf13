"""What a reward, a learner of Stable-Baselines3 and an environment must agree on."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from robo.errors import RoboError
from robo.policies.sb3_environment import SB3Environment
from robo.rewards.base import Reward


def bridge_of(model: Any) -> SB3Environment:
    """The robo environment inside the wrappers of an SB3 model's environment.

    Raises:
        RoboError: there is none, or VecNormalize scales rewards that will be replaced.
    """
    env = model.get_env()
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize) and env.norm_reward:
            raise RoboError(
                "VecNormalize scales rewards that the callback replaces: build it with "
                "norm_reward=False"
            )
        env = env.venv
    if not isinstance(env, SB3Environment):
        raise RoboError(
            f"RelabelCallback reads frames and signals of robo environments, not of "
            f"{type(env).__name__}: make the environment with sb3_vec_env"
        )
    return env


def check_parts(reward: Reward, model: Any, bridge: SB3Environment) -> None:
    """Refuse a reward that assumes another learner or reads what the environment lacks.

    Raises:
        RoboError: naming both values.
    """
    if not isinstance(model, (OnPolicyAlgorithm, OffPolicyAlgorithm)):
        raise RoboError(f"{type(model).__name__} has neither a rollout nor a replay buffer of SB3")
    if reward.gamma is not None and reward.gamma != model.gamma:
        raise RoboError(
            f"the reward assumes gamma {reward.gamma} but {type(model).__name__} has "
            f"{model.gamma}; shaping is exact only where both are equal"
        )
    missing = [name for name in reward.signals if name not in bridge.env.signal_names]
    if missing:
        raise RoboError(
            f"the reward reads signals {missing} that {bridge.env.task} does not give (it gives "
            f"{list(bridge.env.signal_names)}); choose another reward or task"
        )
    if isinstance(model, OnPolicyAlgorithm):
        return
    buffer = model.replay_buffer
    if isinstance(buffer, HerReplayBuffer):
        raise RoboError("HerReplayBuffer computes its own rewards: use ReplayBuffer")
    assert buffer is not None
    handled = "bootstrap" if getattr(buffer, "handle_timeout_termination", True) else "keep"
    if reward.timeout not in (None, handled):
        raise RoboError(
            f"the reward assumes the time-out rule {reward.timeout!r} but the replay buffer has "
            f"{handled!r}: set handle_timeout_termination in replay_buffer_kwargs"
        )
