"""EnvPool's environments (Weng et al. 2022, "EnvPool") under robo's contract.

``envpool/<id>`` by the registry, or :func:`wrap_envpool` around a pool that you made. EnvPool
resets an environment one step late (NEXT_STEP: the step after the end ignores its action and pays
nothing). The adapter resets it at once by its number, so that no slot of a rollout is lost and
the observation of the ending step stays what it is: the final one.

What EnvPool cannot give, and the adapter therefore does not: an exact state (a resumed run begins
new episodes), the numbers of gymnasium's generators (the same seed starts other episodes than
``gym/<id>`` does), frames for rewards, signals, and asynchronous batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import envpool
import numpy as np
from gymnasium.vector.utils import batch_space

from robo.errors import RoboError, UnknownTaskError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.actions import checked_actions
from robo.sim.contract import Environment, StateNotSupportedError, VectorEnvironment
from robo.sim.gym_spaces import adapted_observation, is_image
from robo.sim.vector import check_schedule

PREFIX = "envpool/"
MakePool = Callable[[list[int]], Any]
"""From one seed per environment to a new pool; EnvPool takes seeds only when it makes one."""


class EnvPoolEnvironment(VectorEnvironment):
    """A synchronous EnvPool of N environments, SAME_STEP autoreset.

    ``success`` is EnvPool's own ``success`` or ``is_success`` info where there is one, else False;
    it terminates. Where an episode ends in both ways, ``terminated`` wins.
    """

    backend = "native"

    def __init__(self, pool: Any, task: str = "", make_pool: MakePool | None = None) -> None:
        """Take over a pool made by ``envpool.make_gymnasium`` (or ``env_type="gymnasium"``).

        Args:
            pool: the environments; closed with this one.
            task: id for logs.
            make_pool: makes the pool anew where ``reset`` is given seeds; None cannot.

        Raises:
            RoboError: an asynchronous pool, another of EnvPool's interfaces, or spaces that robo
                cannot express.
        """
        if not hasattr(pool, "single_observation_space") or not hasattr(pool, "spec"):
            raise RoboError(
                f"{type(pool).__name__} is not a pool of EnvPool's gymnasium interface: make it "
                "with envpool.make_gymnasium"
            )
        if pool.is_async:
            raise RoboError(
                f"the pool of {task or type(pool).__name__} is asynchronous (batch_size below "
                "num_envs): robo steps all environments together, so leave batch_size out"
            )
        self.num_envs = int(pool.num_envs)
        self.task = task or PREFIX + type(pool).__name__.removesuffix("GymnasiumEnvPool")
        self.max_episode_steps = int(pool.config["max_episode_steps"])
        self._pool, self._make_pool = pool, make_pool
        self._raw: Any = pool.single_observation_space
        self.single_observation_space, self._convert = adapted_observation(self.task, self._raw)
        self.single_action_space = pool.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._seeds: list[int | None] = [None] * self.num_envs
        self._fresh = True
        self._observation: dict[str, np.ndarray] | None = None

    def reset(  # type: ignore[override]
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reset all: with a seed the pool is made anew (environment i gets ``seed + i``).

        Raises:
            RoboError: a list of another length than N.
        """
        self._check_open()
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        elif isinstance(seed, (int, np.integer)):
            seeds = [int(seed) + row for row in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise RoboError(f"got {len(seeds)} seeds for {self.num_envs} environments")
        if any(one is not None for one in seeds):
            self._reseed(seeds)
        self._seeds = seeds
        self._fresh = False
        observation, _ = self._pool.reset()
        self._observation = self._batch(observation)
        return self.current_observation(), {}

    def _reseed(self, seeds: list[int | None]) -> None:
        """Make the pool anew, or say that it cannot."""
        if self._make_pool is None:
            if not self._fresh:
                warnings.warn(
                    f"{self.task} was made outside robo, where EnvPool fixed its seeds: "
                    "reset(seed=...) goes on with them; make it by robo.make_vec instead",
                    stacklevel=3,
                )
            return
        if None in seeds:
            raise RoboError(f"{self.task} needs a seed for every environment or for none")
        self._pool.close()
        self._pool = self._make_pool([int(one) for one in seeds if one is not None])

    def step(  # type: ignore[override]
        self, actions: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of all; see :class:`~robo.sim.contract.VectorEnvironment`.

        Raises:
            RoboError: actions of a wrong shape, or not finite; called before ``reset``.
        """
        self._check_open()
        if self._observation is None:
            raise RoboError(f"step() of {self.task} came before the first reset(); call reset()")
        checked = checked_actions(actions, self.single_action_space, self.num_envs)
        observation, reward, terminated, truncated, info = self._pool.step(checked)
        success = np.zeros(self.num_envs, np.bool_)
        for key in ("success", "is_success"):
            if key in info:
                success |= np.asarray(info[key]).reshape(self.num_envs).astype(np.bool_)
        terminated = terminated | success
        truncated = truncated & ~terminated
        infos: dict[str, Any] = {"success": success, "signals": {}}
        self._observation = self._batch(observation)
        ended = terminated | truncated
        if ended.any():
            self._end(ended, success, infos)
        reward = reward.astype(np.float32)
        return self.current_observation(), reward, terminated, truncated, infos

    def _end(self, ended: np.ndarray, success: np.ndarray, infos: dict[str, Any]) -> None:
        """Keep the final observations, and reset what ended now rather than with the next step."""
        assert self._observation is not None
        rows = np.flatnonzero(ended)
        final = np.full(self.num_envs, None, dtype=object)
        for row in rows:
            final[row] = {key: array[row].copy() for key, array in self._observation.items()}
            self._seeds[row] = None
        observation, info = self._pool.reset(rows.astype(np.int32))
        # With several threads the rows come in the order in which they were done.
        order = np.asarray(info["env_id"], np.int64)
        for key, array in self._batch(observation).items():
            self._observation[key][order] = array
        infos["final_obs"], infos["_final_obs"] = final, ended
        infos["final_info"] = {"success": success & ended, "_success": ended.copy()}
        infos["_final_info"] = ended.copy()

    def _batch(self, observation: Any) -> dict[str, np.ndarray]:
        """EnvPool's observation as ours, fresh arrays ``[K, ...]``."""
        if isinstance(observation, np.ndarray) and is_image(self._raw):
            empty = np.zeros((len(observation), 0), np.float32)
            return {"state": empty, "image": observation.copy()}
        if isinstance(observation, np.ndarray) and len(self._raw.shape) == 1:
            return {"state": observation.astype(np.float32)}
        count = len(_leaf(observation))
        rows = [self._convert(_row(observation, row)) for row in range(count)]
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]}

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Accepts None alone.

        Raises:
            RoboError: a schedule; EnvPool draws no frames for rewards here.
        """
        check_schedule(self.task, self.cameras, schedule)

    def episode_info(self, env: int) -> EpisodeInfo:
        """Task and, in the first episode after a seeded reset, the seed."""
        if self._observation is None:
            raise RoboError(f"{self.task} has no episode before the first reset(); call reset()")
        return EpisodeInfo(self.task, seed=self._seeds[env])

    def current_observation(self) -> dict[str, np.ndarray]:
        """Observation of the current states, ``[N, ...]`` each, fresh."""
        if self._observation is None:
            raise StateNotSupportedError(f"{self.task} has no observation before its first reset")
        return {key: array.copy() for key, array in self._observation.items()}

    def close_extras(self, **kwargs: Any) -> None:
        """Close the pool."""
        self._pool.close()

    def _check_open(self) -> None:
        if self.closed:
            raise RoboError(f"this vector environment of {self.task} is closed; make a new one")


class SingleEnvPoolEnvironment(Environment):
    """A pool of one environment as a single one: for looking at a task, not for speed."""

    def __init__(self, task: str, **options: Any) -> None:
        """See :func:`make_vec`."""
        self._vector = make_vec(task, 1, **options)
        self.task = task
        self.max_episode_steps = self._vector.max_episode_steps
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; a seed makes the pool anew."""
        super().reset(seed=seed)
        observation, _ = self._vector.reset(seed=seed)
        info = {"instruction": self.instruction, "initial_state": None}
        return {key: array[0] for key, array in observation.items()}, info

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One step; see :class:`~robo.sim.contract.Environment`."""
        result = self._vector.step(np.asarray(action)[None])
        observation, reward, terminated, truncated, infos = result
        last = infos["final_obs"][0] if "final_obs" in infos else None
        shown = {key: array[0] for key, array in observation.items()} if last is None else last
        info = {"success": bool(infos["success"][0]), "signals": {}}
        return shown, float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Accepts None alone."""
        self._vector.set_camera_schedule(schedule)

    def episode_info(self) -> EpisodeInfo:
        """What identifies the current episode."""
        return self._vector.episode_info(0)

    def close(self) -> None:
        """Close the pool."""
        self._vector.close()


def wrap_envpool(pool: Any, task: str = "") -> EnvPoolEnvironment:
    """A pool that you made, as a vector environment of robo's contract.

    Its seeds were fixed when it was made: ``reset(seed=...)`` cannot change them, and warns from
    the second time on.

    Args:
        pool: from ``envpool.make_gymnasium`` with ``batch_size`` equal to ``num_envs``.
        task: id for logs.

    Raises:
        RoboError: see :class:`EnvPoolEnvironment`.
    """
    return EnvPoolEnvironment(pool, task)


def make_vec(
    task: str, num_envs: int, backend: str = "native", threads: int = 1, **options: Any
) -> EnvPoolEnvironment:
    """``num_envs`` environments ``envpool/<id>``.

    Args:
        task: such as ``envpool/HalfCheetah-v5``.
        num_envs: N.
        backend: native or auto; EnvPool is its own.
        threads: EnvPool's ``num_threads``; results do not depend on it.
        options: go to ``envpool.make_gymnasium``.

    Raises:
        UnknownTaskError: EnvPool does not know the id.
        RoboError: options or spaces that do not fit.
    """
    name = task.removeprefix(PREFIX)
    if name not in envpool.list_all_envs():
        raise UnknownTaskError(f"EnvPool knows no {name!r}; envpool.list_all_envs() lists its ids")

    def make_pool(seeds: list[int]) -> Any:
        with warnings.catch_warnings():  # bounds that float32 cannot hold exactly
            warnings.simplefilter("ignore", UserWarning)
            return envpool.make_gymnasium(
                name, num_envs=num_envs, num_threads=threads, env_seed=seeds, **options
            )

    try:
        pool = make_pool(list(range(num_envs)))
    except (TypeError, ValueError, AssertionError) as error:
        raise RoboError(f"{task} cannot be made with {options}: {error}") from error
    return EnvPoolEnvironment(pool, task, make_pool)


def make(task: str, **options: Any) -> SingleEnvPoolEnvironment:
    """One environment ``envpool/<id>``."""
    return SingleEnvPoolEnvironment(task, **options)


def task_ids() -> list[str]:
    """``envpool/<id>`` of all that this EnvPool knows."""
    return sorted(PREFIX + name for name in envpool.list_all_envs())


def _leaf(observation: Any) -> np.ndarray:
    while isinstance(observation, dict):
        observation = next(iter(observation.values()))
    return observation


def _row(observation: Any, row: int) -> Any:
    if isinstance(observation, dict):
        return {key: _row(part, row) for key, part in observation.items()}
    return observation[row]
