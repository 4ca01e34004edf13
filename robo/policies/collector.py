"""The collector: T steps of N environments become one :class:`~robo.rollout.Rollout`."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robo.policies.actor_critic import ActorCritic
from robo.policies.rollout_record import RolloutRecord, carried_frames, frames_of
from robo.rollout import CameraSchedule, EpisodeInfo, Frames, Rollout
from robo.sim.contract import StateNotSupportedError, VectorEnvironment


@dataclass(frozen=True)
class FinishedEpisode:
    """One episode that ended, for logs."""

    id: int
    """Unique, increasing."""
    env: int
    """0 ... N-1."""
    env_return: float
    """Sum of the environment's own reward."""
    length: int
    """Steps."""
    success: bool
    """Whether the task was solved."""
    terminated: bool
    """False for a time-out."""
    info: EpisodeInfo
    """What identifies it."""


class Collector:
    """Acts with ``actor_critic`` in ``env`` and keeps what a learner and a reward need.

    Episodes stay open from one rollout to the next. Frames of s_T come twice: as the last rows
    of a rollout, and as the first (step 0) of the next.
    """

    def __init__(
        self,
        env: VectorEnvironment,
        actor_critic: ActorCritic,
        steps: int,
        seed: int = 0,
        camera: CameraSchedule | None = None,
    ) -> None:
        """Nothing runs until the first :meth:`collect`, which resets ``env`` with ``seed``.

        ``steps`` is T. ``camera`` is what the reward asks for; None renders nothing.

        Raises:
            ValueError: where steps is below 1.
        """
        if steps < 1:
            raise ValueError(f"a rollout needs at least 1 step, got {steps}")
        self.env, self.actor_critic, self.steps, self.camera = env, actor_critic, steps, camera
        self.seed = seed
        self.generator = np.random.default_rng(seed)
        self.finished: list[FinishedEpisode] = []
        """Episodes that ended in the last :meth:`collect`."""
        self.exact_resume = True
        """False after a restore where the environment had to be reset."""
        count = int(env.num_envs)
        self._observation: dict[str, np.ndarray] | None = None
        self._episode = np.full(count, -1, np.int64)
        self._next_episode = 0
        self._open: dict[int, EpisodeInfo] = {}
        self._return = np.zeros(count, np.float64)
        self._length = np.zeros(count, np.int64)
        self._carried: list[Frames] = []
        env.set_camera_schedule(camera)

    # ------------------------------------------------------------------ collecting

    def collect(self) -> Rollout:
        """Take T steps in every environment.

        Returns:
            A rollout that owns its memory. ``action`` is what the policy drew; the environment
            got it clipped to its space.

        Raises:
            RoboError: where the policy's action is NaN or infinite.
        """
        observation = self._reset(self.seed) if self._observation is None else self._observation
        self.finished = []
        record = RolloutRecord(
            (self.steps, len(self._episode)),
            self.env.signal_names,
            self.camera,
            self._carried,
            dict(self._open),
        )
        for t in range(self.steps):
            action, log_prob = self.actor_critic.act(observation, self.generator)
            record.before(t, observation, action, log_prob, self._episode)
            following, reward, terminated, truncated, infos = self.env.step(
                self.actor_critic.environment_action(action)
            )
            record.after(t, reward, terminated, truncated, infos)
            observation = self._own(following)
            self._advance(record, t, infos)
        self._observation = observation
        rollout = record.rollout(observation)
        self._carried = carried_frames(record.frames, self.steps)
        return rollout

    def _reset(self, seed: int) -> dict[str, np.ndarray]:
        first, infos = self.env.reset(seed=seed)
        observation = self._own(first)
        self._return[:] = 0.0
        self._length[:] = 0
        self._open, self._carried = {}, []
        for env in range(len(self._episode)):
            self._start_episode(env)
        rows = infos.get("frames")
        if rows is not None:
            self._carried = [frames_of(rows, 0, self._episode, self._episode)]
        return observation

    def _own(self, observation: dict[str, Any]) -> dict[str, np.ndarray]:
        """Copies of what the policy reads: the environment may reuse its arrays."""
        return {key: np.array(observation[key]) for key in self.actor_critic.keys}

    def _start_episode(self, env: int) -> None:
        self._episode[env] = self._next_episode
        self._open[self._next_episode] = self.env.episode_info(env)
        self._next_episode += 1

    def _advance(self, record: RolloutRecord, t: int, infos: dict[str, Any]) -> None:
        """Close the episodes that ended with step t, open the next, and take in frames."""
        self._return += record.env_reward[t]
        self._length += 1
        ended = self._episode
        done = record.terminated[t] | record.truncated[t]
        if done.any():
            ended = self._episode.copy()
            for env in np.flatnonzero(done):
                self._finish(record, t, int(env))
        rows = infos.get("frames")
        if rows is not None and len(rows.env):
            record.frames.append(frames_of(rows, t + 1, ended, self._episode))

    def _finish(self, record: RolloutRecord, t: int, env: int) -> None:
        episode = int(self._episode[env])
        self.finished.append(
            FinishedEpisode(
                id=episode,
                env=env,
                env_return=float(self._return[env]),
                length=int(self._length[env]),
                success=bool(record.success[t, env]),
                terminated=bool(record.terminated[t, env]),
                info=self._open.pop(episode),
            )
        )
        self._return[env] = 0.0
        self._length[env] = 0
        self._start_episode(env)
        record.episodes[int(self._episode[env])] = self._open[int(self._episode[env])]

    # ------------------------------------------------------------------ exact resume

    def state_dict(self) -> dict[str, Any]:
        """Generator, observation, open episodes, carried frames and the environment's state.

        ``env`` is None where the environment cannot save its exact state.
        """
        try:
            env_state = self.env.state_dict()
        except StateNotSupportedError:
            env_state = None
        observation = self._observation or {}
        return {
            "generator": self.generator.bit_generator.state,
            "started": self._observation is not None,
            "observation": {k: torch.from_numpy(v.copy()) for k, v in observation.items()},
            "episode": self._episode.tolist(),
            "next_episode": self._next_episode,
            "open": {str(k): dataclasses.asdict(info) for k, info in self._open.items()},
            "return": self._return.tolist(),
            "length": self._length.tolist(),
            "carried": [_frames_state(part) for part in self._carried],
            "env": env_state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        An environment that cannot restore its exact state is reset, with a warning: its open
        episodes are dropped, and new ones begin with ids not used before.

        Raises:
            ValueError: where it belongs to another number of environments.
        """
        if len(state["episode"]) != len(self._episode):
            raise ValueError(
                f"the saved collector ran {len(state['episode'])} environments, this one has "
                f"{len(self._episode)}: resume with the same number"
            )
        self.generator.bit_generator.state = state["generator"]
        self._next_episode = int(state["next_episode"])
        if not state["started"]:
            self._observation = None
            return
        try:
            if state["env"] is None:
                raise StateNotSupportedError("the environment's exact state was not saved")
            self.env.load_state_dict(state["env"])
        except StateNotSupportedError as reason:
            warnings.warn(f"resuming from fresh episodes: {reason}", stacklevel=2)
            self.exact_resume = False
            self._observation = self._reset(self.seed + 1 + self._next_episode)
            return
        self._observation = {k: v.numpy().copy() for k, v in state["observation"].items()}
        self._episode = np.array(state["episode"], np.int64)
        self._open = {int(k): EpisodeInfo(**info) for k, info in state["open"].items()}
        self._return = np.array(state["return"], np.float64)
        self._length = np.array(state["length"], np.int64)
        self._carried = [Frames(**part) for part in state["carried"]]


def _frames_state(part: Frames) -> dict[str, Any]:
    return {
        "views": part.views,
        "step": part.step,
        "env": part.env,
        "episode": part.episode,
        "final": part.final,
    }
