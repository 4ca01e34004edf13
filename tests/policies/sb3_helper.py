"""What the tests of the bridge to Stable-Baselines3 share: an environment, a reward, learners."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from robo.rewards.success import EnvironmentReward
from robo.rollout import CameraSchedule, EpisodeInfo, RewardTerms, Rollout
from robo.sim.contract import Environment
from robo.sim.in_process import InProcessVectorEnvironment

sb3 = pytest.importorskip("stable_baselines3")

from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402


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
