"""A small environment of pictures, with a policy, a rollout and an update on it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Dict

from robo.policies.collector import Collector
from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.policy import Policy
from robo.policies.policy_files import make_policy
from robo.policies.ppo import PPO
from robo.rollout import CameraSchedule, EpisodeInfo, RewardTerms, Rollout
from robo.sim.contract import Environment
from robo.sim.in_process import InProcessVectorEnvironment

PIXELS = 16
NETWORK = NetworkConfig(kind="carl_small")


class Sides(Environment):
    """A white half of the picture shows which way to steer; four steps an episode."""

    task = "test/Sides"
    signal_names = ()
    max_episode_steps = 4

    def __init__(self) -> None:
        self.observation_space = Dict(
            birdseye=Box(0, 255, (3, PIXELS, PIXELS), np.uint8),
            state=Box(-1.0, 1.0, (2,), np.float32),
            critic_state=Box(0.0, 1.0, (1,), np.float32),
        )
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        self.right, self.steps = False, 0

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        assert schedule is None

    def episode_info(self) -> EpisodeInfo:
        return EpisodeInfo(self.task)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {"instruction": "", "initial_state": None}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        reward = float(action[0] if self.right else -action[0])
        self.steps += 1
        info = {"success": False, "signals": {}}
        return self._observation(), reward, False, self.steps == 4, info

    def _observation(self) -> dict[str, np.ndarray]:
        self.right = bool(self.np_random.random() < 0.5)
        image = self.np_random.integers(0, 60, (3, PIXELS, PIXELS), dtype=np.uint8)
        image[:, :, PIXELS // 2 :] += np.uint8(180 * self.right)
        image[:, :, : PIXELS // 2] += np.uint8(180 * (not self.right))
        left = np.full(1, (4 - self.steps) / 4, np.float32)
        return {"birdseye": image, "state": np.zeros(2, np.float32), "critic_state": left}

    def state_dict(self) -> dict[str, Any]:
        state = self.np_random.bit_generator.state
        return {"generator": state, "right": self.right, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.np_random.bit_generator.state = state["generator"]
        self.right, self.steps = state["right"], state["steps"]


def make(network: NetworkConfig = NETWORK, envs: int = 8, steps: int = 16, seed: int = 0):
    env = InProcessVectorEnvironment([Sides] * envs)
    space: Any = env.single_observation_space
    policy = make_policy(space, env.single_action_space, network, seed=seed)
    return policy, Collector(env, policy, steps, seed=5)


def terms_of(rollout: Rollout) -> RewardTerms:
    return RewardTerms(rollout.env_reward, {"env": rollout.env_reward})


def updated(policy: Policy, rollout: Rollout, **changes: Any) -> tuple[torch.Tensor, dict]:
    """Parameters and metrics after one update of a copy of the policy."""
    config = PPOConfig(**{"epochs": 2, "minibatch_size": 64, **changes})
    policy, rollout = copy.deepcopy(policy), copy.deepcopy(rollout)
    metrics = PPO(config, policy, seed=1).update(rollout, terms_of(rollout))
    return policy.flat.clone(), metrics
