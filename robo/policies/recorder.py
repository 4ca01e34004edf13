"""Whole episodes from a vector environment: what datasets, scores and evaluations start from.

Each seed gives one episode: the environments are reset with the seeds and stepped until the
first episode of each has ended. What an environment does after its autoreset is not looked at. An
episode that was cut because a server or a worker process was lost says nothing of the actor, and is
played again.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from robo.errors import RoboError
from robo.policies.policy import Policy
from robo.rollout import CameraSchedule, Episode, EpisodeInfo
from robo.sim.contract import FrameRows, VectorEnvironment

PLAYS = 3
"""Times that an episode is begun which was cut by the loss of a server or a worker."""
_LOST = ("_server_lost", "_worker_lost")
"""Masks in ``final_info`` of the environments whose episode was cut so."""


class Actor(Protocol):
    """What chooses actions.

    It may also offer ``reset(num_envs)``, called before a batch of episodes starts, and
    ``keyframes(env) -> dict[str, int]`` and ``metadata(env) -> dict``, asked when the episode of
    an environment has ended.
    """

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions for observations ``[N, ...]``.

        Args:
            observation: of the current states.
            started: bool ``[N]``, the state is the first of an episode.

        Returns:
            float32 ``[N, A]``, or int64 ``[N]`` for discrete actions.
        """
        ...


class PolicyActor:
    """A policy as an actor; it has its own generator, so that training is not disturbed.

    Args:
        actor_critic: the policy.
        deterministic: the mode of the distribution in place of a sample.
        seed: of the samples.
    """

    def __init__(self, actor_critic: Policy, deterministic: bool = True, seed: int = 0) -> None:
        """See the class."""
        self.actor_critic = actor_critic
        self.deterministic = deterministic
        self.generator = np.random.default_rng(seed)
        self._plan = np.empty((0, 1, 0), np.float32)
        self._next = np.empty(0, np.int64)

    def reset(self, num_envs: int) -> None:
        """Forget the chunks planned for earlier episodes."""
        self._plan = np.empty((0, 1, 0), np.float32)

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions ``[N, A]``; see :class:`Actor`. A chunk is acted out before the next look."""
        policy = self.actor_critic
        chunk = getattr(policy, "chunk", 1)
        if chunk == 1:
            action, _ = policy.act(observation, self.generator, self.deterministic)
            return policy.environment_action(action)
        count = len(started)
        if len(self._plan) != count:
            self._plan = np.zeros((count, chunk, 0), np.float32)
            self._next = np.full(count, chunk)
        due = started | (self._next >= chunk)
        if due.any():
            rows = {key: np.asarray(values)[due] for key, values in observation.items()}
            action, _ = policy.act(rows, self.generator, self.deterministic)
            planned = policy.environment_action(action).reshape(int(due.sum()), chunk, -1)
            if self._plan.shape[2] != planned.shape[2]:
                self._plan = np.zeros((count, *planned.shape[1:]), planned.dtype)
            self._plan[due], self._next[due] = planned, 0
        self._next += 1
        return self._plan[np.arange(count), self._next - 1].copy()


def check_action(action: np.ndarray, step: int) -> np.ndarray:
    """``action`` itself.

    Raises:
        RoboError: where a value is not finite; names the environment and the step.
    """
    finite = np.isfinite(action).reshape(len(action), -1).all(axis=1)
    if not finite.all():
        env = int(np.flatnonzero(~finite)[0])
        raise RoboError(
            f"action {np.asarray(action[env]).tolist()} of environment {env} at step {step} is not "
            "finite; check the policy's parameters (a diverged run gives NaN) and its inputs"
        )
    return action


@dataclasses.dataclass
class _Recording:
    """The open episode of one environment."""

    info: EpisodeInfo
    frames: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    frame_step: list[int] = dataclasses.field(default_factory=list)

    def add_frame(self, rows: FrameRows, row: int, step: int) -> None:
        for view, images in rows.views.items():
            self.frames.setdefault(view, []).append(np.array(images[row]))
        self.frame_step.append(step)


def _optional(actor: Any, name: str, env: int) -> dict[str, Any]:
    method = getattr(actor, name, None)
    return dict(method(env)) if method is not None else {}


class _Chunk:
    """One batch of episodes, one per environment."""

    def __init__(
        self, env: VectorEnvironment, actor: Any, seeds: Sequence[int], wanted: int, keep: bool
    ) -> None:
        """``seeds`` has one entry per environment; the episodes of the first ``wanted`` count."""
        self.env, self.actor, self.keep = env, actor, keep
        if hasattr(actor, "reset"):
            actor.reset(env.num_envs)
        # Vector environments take a list of seeds; gymnasium's base class only declares an int.
        self.observation, infos = env.reset(seed=list(seeds))  # type: ignore[arg-type]
        self.recordings = [
            _Recording(dataclasses.replace(env.episode_info(i), seed=int(seed)))
            for i, seed in enumerate(seeds)
        ]
        self.open = np.arange(len(seeds)) < wanted
        self.lost: list[int] = []
        self.states: list[dict[str, np.ndarray]] = []
        self.steps: list[dict[str, Any]] = []
        self._keep_state()
        self._keep_frames(infos.get("frames"))

    def _keep_state(self) -> None:
        if self.keep:
            self.states.append({key: np.array(x) for key, x in self.observation.items()})

    def _keep_frames(self, rows: FrameRows | None) -> None:
        """Frames of the state after ``len(self.steps)`` steps; reset rows are left out."""
        if rows is None:
            return
        ended = self.steps[-1]["done"] if self.steps else np.zeros(self.env.num_envs, bool)
        for row, index in enumerate(rows.env.tolist()):
            if self.open[index] and bool(rows.final[row]) == bool(ended[index]):
                self.recordings[index].add_frame(rows, row, len(self.steps))

    def play(self) -> dict[int, Episode]:
        """Step until every wanted episode has ended; index to episode."""
        episodes: dict[int, Episode] = {}
        started = np.ones(self.env.num_envs, bool)
        while self.open.any():
            action = check_action(self.actor(self.observation, started), len(self.steps))
            self.observation, reward, terminated, truncated, infos = self.env.step(action)
            started = terminated | truncated
            self.steps.append(
                {
                    "action": np.array(action),
                    "reward": np.array(reward, np.float32),
                    "signals": {k: np.array(v, np.float32) for k, v in infos["signals"].items()},
                    "done": started,
                }
            )
            self._keep_frames(infos.get("frames"))
            for index in np.flatnonzero(started & self.open).tolist():
                episodes[index] = self._episode(
                    index,
                    infos["final_obs"][index],
                    bool(infos["success"][index]),
                    bool(terminated[index]),
                )
                self.open[index] = False
                final = infos.get("final_info") or {}
                if any(name in final and final[name][index] for name in _LOST):
                    self.lost.append(index)
            self._keep_state()
        return episodes

    def _episode(self, index: int, final: Any, success: bool, terminated: bool) -> Episode:
        recording = self.recordings[index]
        observation = {
            key: np.stack([*(state[key][index] for state in self.states), np.asarray(final[key])])
            for key in (self.states[0] if self.keep else {})
        }
        names = self.steps[0]["signals"]
        return Episode(
            info=recording.info,
            observation=observation,
            action=np.stack([step["action"][index] for step in self.steps]),
            reward=np.array([step["reward"][index] for step in self.steps], np.float32),
            success=success,
            terminated=terminated,
            signals={
                name: np.array([step["signals"][name][index] for step in self.steps], np.float32)
                for name in names
            },
            frames={view: np.stack(images) for view, images in recording.frames.items()},
            frame_step=np.array(recording.frame_step, np.int64),
            keyframes=_optional(self.actor, "keyframes", index),
            metadata={**self.env.provenance, **_optional(self.actor, "metadata", index)},
        )


def stream_episodes(
    env: VectorEnvironment,
    actor: Actor,
    seeds: Sequence[int],
    camera: CameraSchedule | None = None,
    keep_observations: bool = True,
) -> Iterator[Episode]:
    """One episode per seed, in the order of ``seeds``; holds one batch of episodes at a time.

    Args:
        env: any vector environment of the contract; it is left between episodes.
        actor: see :class:`Actor`.
        seeds: of the initial states.
        camera: frames to record; None records none.
        keep_observations: False leaves ``Episode.observation`` empty.

    Yields:
        Episodes with L+1 states (the last is the final observation, never the reset one), L
        actions as sent, and the frames of the schedule with the state index that each shows;
        their metadata is the environment's provenance and what the actor tells.

    Warns:
        UserWarning: an episode was cut :data:`PLAYS` times by the loss of a server or a worker; it
            is given as far as it came, with ``lost`` in its metadata.

    Raises:
        RoboError: an action that is not finite.
    """
    env.set_camera_schedule(camera)
    for start in range(0, len(seeds), env.num_envs):
        chunk = [int(seed) for seed in seeds[start : start + env.num_envs]]
        episodes, lost = _play(env, actor, chunk, keep_observations)
        for _ in range(PLAYS - 1):
            if not lost:
                break
            again, still = _play(env, actor, [chunk[index] for index in lost], keep_observations)
            episodes |= {lost[index]: episode for index, episode in again.items()}
            lost = [lost[index] for index in still]
        for index in lost:
            episodes[index].metadata["lost"] = True
            warnings.warn(
                f"the episode of seed {chunk[index]} was cut {PLAYS} times by the loss of its "
                "simulator and counts as it ended; look at the server's log",
                stacklevel=2,
            )
        yield from (episodes[index] for index in range(len(chunk)))


def _play(
    env: VectorEnvironment, actor: Any, seeds: list[int], keep_observations: bool
) -> tuple[dict[int, Episode], list[int]]:
    """Episodes by place in ``seeds``, and the places of those that were cut by a loss."""
    spare = range(seeds[-1] + 1, seeds[-1] + 1 + env.num_envs - len(seeds))
    chunk = _Chunk(env, actor, [*seeds, *spare], len(seeds), keep_observations)
    return chunk.play(), chunk.lost


def record_episodes(
    env: VectorEnvironment,
    actor: Actor,
    seeds: Sequence[int],
    camera: CameraSchedule | None = None,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """:func:`stream_episodes` as a list; ``on_episode`` is called with each as it comes."""
    episodes = []
    for episode in stream_episodes(env, actor, seeds, camera):
        if on_episode is not None:
            on_episode(episode)
        episodes.append(episode)
    return episodes
