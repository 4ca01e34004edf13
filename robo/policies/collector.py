"""The collector: T steps of N environments become one :class:`~robo.rollout.Rollout`."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from robo.policies.distributed import Shard
from robo.policies.noise import EnvironmentNoise
from robo.policies.policy import Policy
from robo.policies.resharding import collector_slice
from robo.policies.rollout_record import RolloutRecord, carried_frames, frames_of
from robo.rollout import CameraSchedule, EpisodeInfo, Frames, Rollout
from robo.sim.contract import StateNotSupportedError, VectorEnvironment

FIRST_SEED = 1_000_000
"""Initial states of training are drawn from seeds from here on: evaluations use lower ones."""
EVALUATION_SEED = 5000
"""Evaluations use seeds from here on (selection from 9000 on) unless they are told others."""


def first_seed(seed: int, environments: int) -> int:
    """The seed of environment 0 in a run's first reset; the next ones' follow.

    It is the run's own, or one from ``FIRST_SEED`` on where those of the environments would be
    among the seeds that evaluations use.
    """
    apart = seed + environments <= EVALUATION_SEED or seed >= FIRST_SEED
    return seed if apart else FIRST_SEED + seed


@dataclass(frozen=True)
class FinishedEpisode:
    """One episode that ended, for logs."""

    id: int
    """Unique over all ranks, increasing in each environment."""
    env: int
    """0 ... N-1, of this collector."""
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
    of a rollout, and as the first (step 0) of the next. Seeds, action noise and episode ids are
    those of the environments' places in the global list (``shard``), so that the same
    environments give the same rollouts whoever owns them.
    """

    def __init__(
        self,
        env: VectorEnvironment,
        actor_critic: Policy,
        steps: int,
        seed: int = 0,
        camera: CameraSchedule | None = None,
        shard: Shard | None = None,
    ) -> None:
        """Nothing runs until the first :meth:`collect`, which resets ``env`` with ``seed``.

        Args:
            env: N environments.
            actor_critic: acts; it is not changed.
            steps: T.
            seed: environment i of the global list is reset with :func:`first_seed` + i.
            camera: what the reward asks for; None renders nothing.
            shard: which environments of the global list ``env`` holds; None: all there are.

        Raises:
            ValueError: where steps is below 1.
        """
        if steps < 1:
            raise ValueError(f"a rollout needs at least 1 step, got {steps}")
        self.env, self.actor_critic, self.steps, self.camera = env, actor_critic, steps, camera
        self._keys = actor_critic.keys
        self.seed = seed
        self.shard = shard or Shard(0, int(env.num_envs), int(env.num_envs))
        self.noise = EnvironmentNoise(seed, range(self.shard.first, self.shard.stop), steps)
        self.rollouts = 0
        """Rollouts begun, restored ones included: decides the action noise."""
        self.finished: list[FinishedEpisode] = []
        """Episodes that ended in the last :meth:`collect`."""
        self.exact_resume = True
        """False after a restore where the environment had to be reset."""
        count = int(env.num_envs)
        self._observation: dict[str, np.ndarray] | None = None
        self._episode = np.full(count, -1, np.int64)
        self._episodes_begun = np.zeros(count, np.int64)
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
        record = self.begin()
        for t in range(self.steps):
            self.take(record, t, self.env.step(self.act(record, t)))
        return self.end(record)

    def begin(self) -> RolloutRecord:
        """The record of a new rollout; the first one resets the environments."""
        if self._observation is None:
            self._observation = self._reset(first_seed(self.seed, self.shard.total))
        self.finished = []
        self.noise.begin(self.rollouts)
        self.rollouts += 1
        return RolloutRecord(
            (self.steps, len(self._episode)),
            self.env.signal_names,
            self.camera,
            self._carried,
            dict(self._open),
        )

    def act(self, record: RolloutRecord, t: int) -> np.ndarray:
        """Choose and record the actions of step t; returns what the environments get."""
        observation = self._observation
        assert observation is not None
        generator = cast(np.random.Generator, self.noise)
        action, log_prob = self.actor_critic.act(observation, generator)
        record.before(t, observation, action, log_prob, self._episode)
        return self.actor_critic.environment_action(action)

    def take(self, record: RolloutRecord, t: int, result: tuple) -> None:
        """Record what ``env.step`` returned for the actions of step t."""
        following, reward, terminated, truncated, infos = result
        record.after(t, reward, terminated, truncated, infos)
        self._observation = self._own(following)
        self._advance(record, t, infos)

    def end(self, record: RolloutRecord) -> Rollout:
        """The rollout of a full record; its frames of s_T are carried to the next."""
        assert self._observation is not None
        rollout = record.rollout(self._observation)
        self._carried = carried_frames(record.frames, self.steps)
        return rollout

    def _reset(self, seed: int) -> dict[str, np.ndarray]:
        first, infos = self.env.reset(seed=seed + self.shard.first)
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
        return {key: np.array(observation[key]) for key in self._keys}

    def _start_episode(self, env: int) -> None:
        episode = int(self._episodes_begun[env]) * self.shard.total + self.shard.first + env
        self._episode[env] = episode
        self._open[episode] = self.env.episode_info(env)
        self._episodes_begun[env] += 1

    def _advance(self, record: RolloutRecord, t: int, infos: dict[str, Any]) -> None:
        """Close the episodes that ended with step t, open the next, and take in frames."""
        self._return += record.env_reward[t]
        self._length += 1
        ended = self._episode
        if np.count_nonzero(record.ended):
            ended = self._episode.copy()
            for env in np.flatnonzero(record.ended):
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
        """Observation, open episodes, carried frames, counters and the environment's state.

        ``env`` is None where the environment cannot save its exact state.
        """
        try:
            env_state = self.env.state_dict()
        except StateNotSupportedError:
            env_state = None
        observation = self._observation or {}
        return {
            "first": self.shard.first,
            "total": self.shard.total,
            "rollouts": self.rollouts,
            "started": self._observation is not None,
            "observation": {k: torch.from_numpy(v.copy()) for k, v in observation.items()},
            "episode": self._episode.tolist(),
            "episodes_begun": self._episodes_begun.tolist(),
            "open": {str(k): dataclasses.asdict(info) for k, info in self._open.items()},
            "return": self._return.tolist(),
            "length": self._length.tolist(),
            "carried": [_frames_state(part) for part in self._carried],
            "env": env_state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, here or of groups that cover ``shard``.

        An environment that cannot restore its exact state is reset, with a warning: its open
        episodes are dropped, and new ones begin with ids not used before.

        Raises:
            ValueError: where it belongs to another number of environments.
        """
        if "groups" in state:
            state = collector_slice(state["groups"], self.shard.first, self.shard.stop)
        if len(state["episode"]) != len(self._episode):
            raise ValueError(
                f"the saved collector ran {len(state['episode'])} environments, this one has "
                f"{len(self._episode)}: resume with the same number"
            )
        self.rollouts = int(state["rollouts"])
        self._episodes_begun = np.array(state["episodes_begun"], np.int64)
        if not state["started"]:
            self._observation = None
            return
        try:
            if state["env"] is None:
                raise StateNotSupportedError("the environment's exact state was not saved")
            self.env.load_state_dict(state["env"])
        except StateNotSupportedError as reason:
            warnings.warn(f"resuming from fresh episodes: {reason}", stacklevel=2)
            self._reset_afresh()
            return
        self._observation = {k: v.numpy().copy() for k, v in state["observation"].items()}
        self._episode = np.array(state["episode"], np.int64)
        self._open = {int(k): EpisodeInfo(**info) for k, info in state["open"].items()}
        self._return = np.array(state["return"], np.float64)
        self._length = np.array(state["length"], np.int64)
        self._carried = [Frames(**part) for part in state["carried"]]

    def _reset_afresh(self) -> None:
        """Begin new episodes, from seeds from ``FIRST_SEED`` on.

        They follow from the run's seed and the rollouts begun, whoever owns the environments.
        """
        draw = np.random.default_rng((self.seed, 13, self.rollouts))
        self.exact_resume = False
        self._observation = self._reset(int(draw.integers(FIRST_SEED, 2**31 - self.shard.total)))


def _frames_state(part: Frames) -> dict[str, Any]:
    return {
        "views": part.views,
        "step": part.step,
        "env": part.env,
        "episode": part.episode,
        "final": part.final,
    }
