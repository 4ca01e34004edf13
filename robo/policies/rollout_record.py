"""What one rollout records while it is being collected, in preallocated arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo.rollout import (
    CameraSchedule,
    EpisodeInfo,
    FinalObservation,
    Frames,
    Rollout,
    concatenate_frames,
)
from robo.sim.contract import FrameRows


class RolloutRecord:
    """Arrays ``[T, N, ...]`` of one rollout while it is being collected."""

    def __init__(
        self,
        shape: tuple[int, int],
        signal_names: tuple[str, ...],
        camera: CameraSchedule | None,
        carried: list[Frames],
        episodes: dict[int, EpisodeInfo],
    ) -> None:
        """``shape`` is (T, N); ``carried`` are frames of s_0, ``episodes`` those open now."""
        self.shape = shape
        self.camera = camera
        self.observation: dict[str, np.ndarray] = {}
        self.action = np.empty(0)
        self.log_prob = np.empty(self.shape, np.float32)
        self.env_reward = np.empty(self.shape, np.float32)
        self.terminated = np.empty(self.shape, bool)
        self.truncated = np.empty(self.shape, bool)
        self.success = np.zeros(self.shape, bool)
        self.episode = np.empty(self.shape, np.int64)
        self.ended = np.zeros(self.shape[1], bool)
        """Whose episode ended with the step recorded last, ``[N]``."""
        self.signals = {name: np.zeros(shape, np.float32) for name in signal_names}
        self.episodes = episodes
        self.frames = list(carried)
        self.final: list[dict[str, np.ndarray]] = []
        self.final_step: list[int] = []
        self.final_env: list[int] = []

    def before(
        self,
        t: int,
        observation: dict[str, np.ndarray],
        action: np.ndarray,
        log_prob: np.ndarray,
        episode: np.ndarray,
    ) -> None:
        """Keep what is known before step t: observation, action and episode ids."""
        if t == 0:
            steps = self.shape[0]
            self.action = np.empty((steps, *action.shape), action.dtype)
            self.observation = {
                key: _room((steps, *array.shape), array.dtype) for key, array in observation.items()
            }
        for key, array in observation.items():
            self.observation[key][t] = array
        self.action[t] = action
        self.log_prob[t] = log_prob
        self.episode[t] = episode

    def after(
        self,
        t: int,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        infos: dict[str, Any],
    ) -> None:
        """Keep what step t brought: reward, ends, success, signals, final observations."""
        self.env_reward[t] = reward
        self.terminated[t] = terminated
        # An episode that ends on its last allowed step has ended, not timed out.
        self.truncated[t] = truncated & ~self.terminated[t]
        self.ended = self.terminated[t] | self.truncated[t]
        if "success" in infos:
            self.success[t] = infos["success"]
        signals = infos.get("signals")
        if signals:
            for name, array in self.signals.items():
                array[t] = signals[name]
        if np.count_nonzero(self.ended):
            for env in np.flatnonzero(self.ended):
                final = infos["final_obs"][env]
                self.final.append({key: np.array(final[key]) for key in self.observation})
                self.final_step.append(t)
                self.final_env.append(int(env))

    def rollout(self, last: dict[str, np.ndarray]) -> Rollout:
        """The rollout; ``last`` is the observation of s_T, ``[N, ...]`` each."""
        final = {
            key: torch.from_numpy(
                np.stack([row[key] for row in self.final])
                if self.final
                else np.empty((0, *array.shape[2:]), array.dtype)
            )
            for key, array in self.observation.items()
        }
        frames = concatenate_frames(self.frames)
        if frames is None and self.camera is not None:
            frames = _no_frames(self.camera)
        return Rollout(
            observation={k: torch.from_numpy(v) for k, v in self.observation.items()},
            last_observation={k: torch.from_numpy(v.copy()) for k, v in last.items()},
            final_observation=FinalObservation(
                final,
                torch.tensor(self.final_step, dtype=torch.int64),
                torch.tensor(self.final_env, dtype=torch.int64),
            ),
            action=torch.from_numpy(self.action),
            log_prob=torch.from_numpy(self.log_prob),
            env_reward=torch.from_numpy(self.env_reward),
            terminated=torch.from_numpy(self.terminated),
            truncated=torch.from_numpy(self.truncated),
            success=torch.from_numpy(self.success),
            episode=torch.from_numpy(self.episode),
            episodes=self.episodes,
            signals={k: torch.from_numpy(v) for k, v in self.signals.items()},
            frames=frames,
        )


def _room(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array; images are pinned where there is a GPU, which then copies them by itself."""
    if dtype == np.uint8 and torch.cuda.is_available():
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
    return np.empty(shape, dtype)


def frames_of(rows: FrameRows, step: int, ended: np.ndarray, current: np.ndarray) -> Frames:
    """Rows of one step; final ones belong to the episode that ``ended``."""
    episode = np.where(rows.final, ended[rows.env], current[rows.env])
    return Frames(
        {name: torch.from_numpy(np.array(image)) for name, image in rows.views.items()},
        torch.full((len(rows.env),), step, dtype=torch.int64),
        torch.from_numpy(np.array(rows.env, np.int64)),
        torch.from_numpy(episode.astype(np.int64)),
        torch.from_numpy(np.array(rows.final, bool)),
    )


def carried_frames(parts: list[Frames], steps: int) -> list[Frames]:
    """The rows that show s_T, as step 0 of the next rollout."""
    carried = []
    for part in parts:
        wanted = (part.step == steps) & ~part.final
        if bool(wanted.any()):
            rows = part.rows(wanted)
            rows.step = torch.zeros_like(rows.step)
            carried.append(rows)
    return carried


def _no_frames(camera: CameraSchedule) -> Frames:
    none = torch.empty(0, dtype=torch.int64)
    image = torch.empty((0, camera.height, camera.width, 3), dtype=torch.uint8)
    views: dict[str, Tensor] = dict.fromkeys(camera.views, image)
    return Frames(views, none, none.clone(), none.clone(), none.bool())
