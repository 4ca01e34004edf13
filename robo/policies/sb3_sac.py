"""SAC of Stable-Baselines3 on robo's tasks and rewards, as VLM-RL trains (arXiv 2412.15544).

Frames are scored in one pass per ``train_freq`` steps of every environment, images are kept
packed. Needs the extra ``sb3``.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from robo.errors import CheckpointError, RoboError
from robo.policies.sac_config import SacConfig
from robo.policies.sb3_environment import SB3Environment
from robo.policies.sb3_relabel import RelabelCallback
from robo.policies.sb3_replay import CompactReplayBuffer
from robo.rewards.base import Reward

PRIVILEGED = "critic_state"
"""Observation entry that the policy must not read."""


class DrivingExtractor(BaseFeaturesExtractor):
    """Convolutions over the bird's-eye raster, joined with the state; nothing privileged."""

    def __init__(self, observation_space: gymnasium.spaces.Dict, features: int = 256) -> None:
        """``observation_space``: with ``state`` and, where there is one, ``birdseye``."""
        entries = observation_space.spaces
        state = entries["state"].shape
        assert state is not None
        raster = entries.get("birdseye")
        super().__init__(observation_space, state[0] + (features if raster is not None else 0))
        self.convolutions: nn.Module | None = None
        if raster is not None:
            assert raster.shape is not None
            self.convolutions = _convolutions(raster.shape, features)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """float32 ``[B, features + state]``; SB3 has scaled the raster to [0, 1]."""
        state = observations["state"]
        if self.convolutions is None:
            return state
        return torch.cat([self.convolutions(observations["birdseye"]), state], dim=1)


def _convolutions(shape: tuple[int, ...], features: int) -> nn.Sequential:
    """VLM-RL's pyramid, as far as the raster is large enough for it."""
    channels, height, width = shape
    size, layers = min(height, width), []
    plan = ((16, 5, 2), (32, 5, 2), (64, 5, 2), (128, 3, 2), (256, 3, 1))
    for out, kernel, stride in plan:
        if size < kernel:
            break
        layers += [nn.Conv2d(channels, out, kernel, stride), nn.ReLU()]
        channels, size = out, (size - kernel) // stride + 1
    layers.append(nn.Flatten())
    with torch.no_grad():
        flat = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(*layers, nn.Linear(flat, features), nn.ReLU())


def make_sac(env: SB3Environment, config: SacConfig, seed: int = 0, device: str = "cpu") -> SAC:
    """A learner with packed images and VLM-RL's networks."""

    def rate(left: float) -> float:
        span = config.learning_rate - config.final_learning_rate
        return config.final_learning_rate + span * left**2

    return SAC(
        "MultiInputPolicy",
        env,
        learning_rate=rate,
        buffer_size=config.buffer_size,
        learning_starts=config.learning_starts,
        batch_size=config.batch_size,
        tau=config.tau,
        gamma=config.gamma,
        train_freq=config.train_freq,
        gradient_steps=config.gradient_steps,
        replay_buffer_class=CompactReplayBuffer,
        replay_buffer_kwargs={"max_bytes": config.buffer_bytes},
        use_sde=True,
        policy_kwargs={
            "net_arch": list(config.hidden),
            "features_extractor_class": DrivingExtractor,
            "features_extractor_kwargs": {"features": config.features},
            "log_std_init": config.log_std,
        },
        seed=seed,
        device=device,
    )


class SacActor:
    """An SB3 model as a recorder's actor; the mean action."""

    def __init__(self, model: SAC) -> None:
        """``model``: trained or not."""
        self.model = model
        space: Any = model.observation_space
        self._keys = tuple(space.spaces)

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions float32 ``[N, A]``."""
        seen: Any = {key: np.asarray(observation[key]) for key in self._keys}
        return np.asarray(self.model.predict(seen, deterministic=True)[0], np.float32)


class _Checkpoints(BaseCallback):
    """Saves the model every so many steps, so that a killed run loses few."""

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__()
        self.folder, self.every = folder, every
        self._next = 0

    def _on_training_start(self) -> None:
        self._next = self.num_timesteps + self.every

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next += self.every
            save(self.model, self.folder)
        return True


def save(model: Any, folder: Path) -> Path:
    """Write ``sac.zip`` whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    part, path = folder / "sac.part.zip", folder / "sac.zip"
    model.save(part)
    part.replace(path)
    return path


def load(folder: Path, device: str = "cpu") -> SAC:
    """The model that :func:`save` wrote. SB3's format unpickles: load only what you trust.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = folder / "sac.zip"
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no sac.zip: train there first")
    try:
        return SAC.load(path, device=device)
    except Exception as error:  # zip, pickle, torch: each its own family
        raise CheckpointError(f"{path} is damaged ({error}): train again") from error


def train_sac(
    env: SB3Environment,
    reward: Reward,
    config: SacConfig,
    total_steps: int,
    out: Path,
    seed: int = 0,
    device: str = "cpu",
    resume: bool = False,
) -> tuple[SAC, dict[str, Any]]:
    """Train to ``total_steps`` environment steps, over all environments.

    Args:
        env: from :func:`sb3_vec_env`.
        reward: relabels the newest steps before every round of gradient steps.
        config: see :class:`SacConfig`.
        total_steps: in all, those of an earlier run in ``out`` included.
        out: run folder; gets ``checkpoints/sac.zip`` and ``metrics``.
        seed: of networks and samples.
        device: torch device.
        resume: go on from ``checkpoints/sac.zip``; the replay buffer starts empty.

    Returns:
        The model, and ``steps``, ``wall_seconds``, ``success_recent``, ``replay_bytes`` (of
        images), ``replay_steps``.

    Raises:
        RoboError: the reward does not fit, or is not finite.
        CheckpointError: nothing to go on from.
    """
    folder = out / "checkpoints"
    if not resume and (folder / "sac.zip").exists():
        raise RoboError(
            f"{out} already holds checkpoints of a run; go on with it by --resume or choose "
            "another --out"
        )
    model = make_sac(env, config, seed, device)
    if resume:
        earlier = load(folder, device)
        parameters: Any = earlier.get_parameters()
        model.set_parameters(parameters)
        model.num_timesteps = earlier.num_timesteps
        # The buffer is empty: it is filled by the policy first, not by random actions.
        model.learning_starts = model.num_timesteps + config.batch_size
        model.use_sde_at_warmup = True
    model.set_logger(configure(str(out / "metrics"), ["tensorboard"]))
    began = time.perf_counter()
    left = total_steps - model.num_timesteps
    if left > 0:
        every = max(total_steps // 20, 1)
        callbacks = CallbackList([RelabelCallback(reward), _Checkpoints(folder, every)])
        model.learn(left, callback=callbacks, reset_num_timesteps=not resume)
    save(model, folder)
    recent = list(model.ep_success_buffer or [])
    buffer: Any = model.replay_buffer
    return model, {
        "steps": model.num_timesteps,
        "wall_seconds": round(time.perf_counter() - began, 1),
        "success_recent": float(np.mean(recent)) if recent else math.nan,
        "replay_bytes": int(buffer.image_bytes),
        "replay_steps": int(buffer.size() * env.num_envs),
    }
