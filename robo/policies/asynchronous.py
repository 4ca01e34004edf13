"""Environments in groups: while one group is being simulated, the policy acts for the next.

The policy waits for no more than one group at a time, so acting costs no simulator time where the
simulators run outside Python (worker processes, native threads). Results are those of one group:
seeds, noise and episode ids belong to environments, not to groups.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gymnasium.vector.utils import batch_space

from robo.errors import RoboError
from robo.policies.collector import Collector, FinishedEpisode
from robo.policies.distributed import Shard
from robo.policies.policy import Policy
from robo.policies.resharding import collector_slice
from robo.policies.rollout_join import join_rollouts
from robo.rollout import CameraSchedule, EpisodeInfo, Rollout
from robo.sim.contract import VectorEnvironment

if TYPE_CHECKING:
    from robo.policies.train_config import TrainConfig


class OwnThreadEnvironment(VectorEnvironment):
    """A vector environment all of whose calls run in one thread of its own.

    One thread, because a GL context belongs to the thread that made it.
    """

    def __init__(self, make: Callable[[], VectorEnvironment]) -> None:
        """Call ``make`` in the thread; what it raises is raised here."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="robo-group")
        self._pending: Future | None = None
        try:
            self.inner = self._call(make)
        except BaseException:
            self._pool.shutdown(wait=False)
            raise
        inner = self.inner
        self.num_envs, self.task, self.backend = inner.num_envs, inner.task, inner.backend
        self.cameras, self.signal_names = inner.cameras, inner.signal_names
        self.max_episode_steps = inner.max_episode_steps
        self.single_observation_space = inner.single_observation_space
        self.single_action_space = inner.single_action_space
        self.observation_space = inner.observation_space
        self.action_space = inner.action_space

    def _call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return self._pool.submit(function, *arguments, **named).result()

    def step_async(self, actions: Any) -> None:
        """Begin a step.

        Raises:
            RoboError: where one is under way.
        """
        if self._pending is not None:
            raise RoboError(f"{self.task} is stepping already; call step_wait() first")
        self._pending = self._pool.submit(self.inner.step, actions)

    def step_wait(self) -> tuple:
        """What the step that was begun returns.

        Raises:
            RoboError: where none was begun.
        """
        if self._pending is None:
            raise RoboError(f"no step of {self.task} was begun; call step_async() first")
        pending, self._pending = self._pending, None
        return pending.result()

    def step(self, actions: Any) -> tuple:
        """Step and wait."""
        self.step_async(actions)
        return self.step_wait()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple:
        """See :class:`~robo.sim.contract.VectorEnvironment`."""
        return self._call(self.inner.reset, seed=seed, options=options)

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """See :class:`~robo.sim.contract.VectorEnvironment`."""
        self._call(self.inner.set_camera_schedule, schedule)

    def episode_info(self, env: int) -> EpisodeInfo:
        """See :class:`~robo.sim.contract.VectorEnvironment`."""
        return self._call(self.inner.episode_info, env)

    def state_dict(self) -> dict[str, Any]:
        """See :class:`~robo.sim.contract.VectorEnvironment`."""
        return self._call(self.inner.state_dict)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`~robo.sim.contract.VectorEnvironment`."""
        self._call(self.inner.load_state_dict, state)

    def current_observation(self) -> dict[str, Any]:
        """See :class:`~robo.sim.contract.VectorEnvironment`."""
        return self._call(self.inner.current_observation)

    def close_extras(self, **kwargs: Any) -> None:
        """Wait for a step under way, close the environment, end the thread."""
        self._call(self.inner.close)
        self._pool.shutdown(wait=True)


class EnvironmentGroups:
    """The environments of one rank in several groups, made one after another."""

    def __init__(
        self, make: Callable[[int], VectorEnvironment], num_envs: int, groups: int
    ) -> None:
        """``make(n)`` makes n environments; group sizes differ by at most one.

        Raises:
            RoboError: more groups than environments.
        """
        if not 1 <= groups <= num_envs:
            raise RoboError(
                f"groups is {groups} but this process has {num_envs} environments; expected 1 to "
                f"{num_envs}"
            )
        self.num_envs = num_envs
        self.groups: list[OwnThreadEnvironment] = []
        bounds = [num_envs * group // groups for group in range(groups + 1)]
        try:
            for first, stop in pairwise(bounds):
                count = stop - first
                self.groups.append(OwnThreadEnvironment(lambda n=count: make(n)))
        except BaseException:
            self.close()
            raise
        head = self.groups[0]
        self.task, self.backend, self.cameras = head.task, head.backend, head.cameras
        self.signal_names = head.signal_names
        self.single_observation_space = head.single_observation_space
        self.single_action_space = head.single_action_space
        self.observation_space = batch_space(head.single_observation_space, num_envs)

    def close(self) -> None:
        """Close all groups."""
        for group in self.groups:
            group.close()


class GroupedCollector:
    """Collectors of the groups, in step with each other; their rollouts become one.

    Has the methods and attributes of :class:`~robo.policies.collector.Collector`.
    """

    def __init__(
        self,
        env: EnvironmentGroups,
        actor_critic: Policy,
        steps: int,
        seed: int = 0,
        camera: CameraSchedule | None = None,
        shard: Shard | None = None,
    ) -> None:
        """See :class:`~robo.policies.collector.Collector`."""
        self.env, self.steps = env, steps
        self.shard = shard or Shard(0, env.num_envs, env.num_envs)
        self.collectors: list[Collector] = []
        first = self.shard.first
        for group in env.groups:
            part = Shard(first, first + group.num_envs, self.shard.total)
            self.collectors.append(Collector(group, actor_critic, steps, seed, camera, part))
            first = part.stop
        self.finished: list[FinishedEpisode] = []

    @property
    def actor_critic(self) -> Policy:
        """The policy that acts."""
        return self.collectors[0].actor_critic

    @actor_critic.setter
    def actor_critic(self, policy: Policy) -> None:
        for collector in self.collectors:
            collector.actor_critic = policy

    @property
    def rollouts(self) -> int:
        """Rollouts begun."""
        return self.collectors[0].rollouts

    @property
    def exact_resume(self) -> bool:
        """False after a restore where an environment had to be reset."""
        return all(collector.exact_resume for collector in self.collectors)

    def collect(self) -> Rollout:
        """T steps of all groups; one acts while the others are simulated."""
        parts = [(part, part.begin(), group) for part, group in self._pairs()]
        for t in range(self.steps):
            for part, record, group in parts:
                if t > 0:
                    part.take(record, t - 1, group.step_wait())
                group.step_async(part.act(record, t))
        rollouts = []
        for part, record, group in parts:
            part.take(record, self.steps - 1, group.step_wait())
            rollouts.append(part.end(record))
        firsts = [part.shard.first - self.shard.first for part in self.collectors]
        self.finished = [
            FinishedEpisode(**{**vars(episode), "env": episode.env + first})
            for part, first in zip(self.collectors, firsts, strict=True)
            for episode in part.finished
        ]
        return join_rollouts(rollouts, firsts)

    def _pairs(self) -> list[tuple[Collector, OwnThreadEnvironment]]:
        return list(zip(self.collectors, self.env.groups, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """One state per group under ``groups``."""
        return {"groups": [collector.state_dict() for collector in self.collectors]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` of this or of a plain collector returned."""
        saved = state.get("groups", [state])
        for collector in self.collectors:
            shard = collector.shard
            collector.load_state_dict(collector_slice(saved, shard.first, shard.stop))


def make_environments(config: TrainConfig, count: int) -> VectorEnvironment | EnvironmentGroups:
    """``count`` environments of a run, in groups or in a thread of their own where it asks so.

    Raises:
        RoboError: unknown task or backend, options that the simulator refuses.
    """
    from robo.sim.registry import make_vec

    def make(number: int) -> VectorEnvironment:
        return make_vec(config.task, number, backend=config.backend, **config.options)

    if config.groups == 1 and config.collection == "synchronous":
        return make(count)
    return EnvironmentGroups(make, count, config.groups)
