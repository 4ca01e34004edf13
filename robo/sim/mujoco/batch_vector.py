"""What vector environments that step many simulations natively share, whatever is simulated."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.actions import checked_actions
from robo.sim.contract import FrameRows, VectorEnvironment
from robo.sim.mujoco.rendering import PROFILES, Profile
from robo.sim.mujoco.tasks import Scene
from robo.sim.vector import check_schedule

StepResult = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class Rules(Protocol):
    """What a task asks for; see :class:`robo.sim.mujoco.tasks.Task`."""

    instruction: str
    horizon: int

    def success(self, scene: Scene) -> np.ndarray:
        """Whether each simulation has solved the task, bool ``[N]``."""
        ...


class Batch(Protocol):
    """N simulations side by side; see :class:`robo.sim.mujoco.simulation.Simulations`."""

    num_envs: int
    elapsed: np.ndarray

    def start(self, index: np.ndarray, seeds: list[int]) -> None:
        """Begin an episode in simulations ``index``, one seed each."""
        ...

    def advance(self, actions: np.ndarray) -> None:
        """One control step of all."""
        ...

    def scene(self) -> Scene:
        """What the rules read."""
        ...

    def signals(self, scene: Scene) -> dict[str, np.ndarray]:
        """Named numbers, float32 ``[N]``."""
        ...

    def observe(self, index: Any = slice(None)) -> np.ndarray:
        """The state vectors of simulations ``index``, float32 ``[K, S]``."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything, to be restored bit for bit."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        ...


class BatchVectorEnvironment(VectorEnvironment):
    """Seeds, autoreset, frames and exact state of N simulations in one process.

    Attributes:
        profile: how frames are drawn, "fast" or "faithful".
        rules: what the task asks for.
        simulations: the physics.
    """

    backend = "native"

    def __init__(
        self,
        task: str,
        cameras: tuple[str, ...],
        rules: Rules,
        simulations: Batch,
        profile: Profile,
        sizes: tuple[int, int],
    ) -> None:
        """Vector environment ``task``; ``sizes`` are those of its state and action vectors."""
        self.task, self.instruction, self.cameras = task, rules.instruction, cameras
        self.rules, self.simulations = rules, simulations
        self.num_envs = simulations.num_envs
        self.profile: Profile = profile
        self.provenance = {"rendering_profile": profile}
        self.max_episode_steps = rules.horizon
        self._generators = [np.random.default_rng(i) for i in range(self.num_envs)]
        self._episode_seed = np.zeros(self.num_envs, np.int64)
        self._schedule: CameraSchedule | None = None
        self._pending: CameraSchedule | None = None
        self._ready = False
        state = spaces.Box(-np.inf, np.inf, (sizes[0],), np.float32)
        self.single_observation_space = spaces.Dict({"state": state})
        self.single_action_space = spaces.Box(-1.0, 1.0, (sizes[1],), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` from the next reset or restored state on; None stops at once.

        Raises:
            RoboError: for a view that is not one of ``cameras``.
        """
        check_schedule(self.task, self.cameras, schedule)
        self._pending = schedule
        if schedule is None:
            self._use_schedule()

    def episode_info(self, env: int) -> EpisodeInfo:
        """Task, instruction and the seed that reproduces the episode by ``reset(seed=...)``."""
        return EpisodeInfo(self.task, self.instruction, None, None, int(self._episode_seed[env]))

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reset all; environment i gets ``seed + i`` or ``seed[i]``.

        Raises:
            RoboError: for a list of another length than ``num_envs``.
            RenderingError: where frames are asked for and no GL backend works.
        """
        self._use_schedule()
        everyone = np.arange(self.num_envs)
        if seed is None:
            seeds = [self._next_seed(env) for env in range(self.num_envs)]
        else:
            if isinstance(seed, (int, np.integer)):
                seed = [int(seed) + env for env in range(self.num_envs)]
            seeds = list(seed)
            if len(seeds) != self.num_envs:
                raise RoboError(f"reset got {len(seeds)} seeds for {self.num_envs} environments")
            self._generators = [np.random.default_rng((int(s), 1)) for s in seeds]
        self._start(everyone, seeds)
        self._ready = True
        infos: dict[str, Any] = {}
        if self._schedule is not None:
            infos["frames"] = self._render(everyone, np.zeros(self.num_envs, bool), self._schedule)
        return self.current_observation(), infos

    def step(self, actions: np.ndarray) -> StepResult:
        """One control step of all simulations.

        Raises:
            RoboError: before the first reset, and for actions of a wrong shape, NaN or infinite.
        """
        observation, reward, success, truncated, infos = self._physics_step(actions)
        ended = np.flatnonzero(success | truncated)
        schedule = self._schedule
        due = self._due(ended, schedule) if schedule is not None else ended[:0]
        final_rows = None
        if schedule is not None and len(ended):
            final_rows = self._render(ended, np.ones(len(ended), bool), schedule)
        if len(ended):
            self._add_final(infos, observation, ended)
            self._start(ended, [self._next_seed(int(env)) for env in ended])
            observation["state"][ended] = self.simulations.observe(ended)
        if schedule is not None and len(due):
            current = self._render(due, np.zeros(len(due), bool), schedule)
            infos["frames"] = _joined(final_rows, current)
        return observation, reward, success, truncated, infos

    def step_without_reset(self, actions: np.ndarray) -> StepResult:
        """As :meth:`step`, for callers that reset by themselves (the single environment)."""
        observation, reward, success, truncated, infos = self._physics_step(actions)
        ended = success | truncated
        if self._schedule is not None:
            due = self._due(np.flatnonzero(ended), self._schedule)
            if len(due):
                infos["frames"] = self._render(due, ended[due], self._schedule)
        return observation, reward, success, truncated, infos

    def state_dict(self) -> dict[str, Any]:
        """Physics, commanded targets, clocks and generators; restores bit for bit."""
        return {
            **self.simulations.state_dict(),
            "episode_seed": self._episode_seed.copy(),
            "generators": [generator.bit_generator.state for generator in self._generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            RoboError: where it belongs to another task or number of environments.
        """
        self.simulations.load_state_dict(state)
        self._episode_seed = np.array(state["episode_seed"])
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = saved
        self._use_schedule()
        self._ready = True

    def current_observation(self) -> dict[str, np.ndarray]:
        """``state`` float32 ``[N, S]``, a fresh array."""
        return {"state": self.simulations.observe()}

    def close_extras(self, **kwargs: Any) -> None:
        """Free the GL context."""
        self._close_renderer()

    # --- inside ---------------------------------------------------------------------------

    def _physics_step(self, actions: np.ndarray) -> StepResult:
        if not self._ready:
            raise RoboError(f"{self.task}: reset() must be called before step()")
        checked = checked_actions(actions, self.single_action_space, self.num_envs)
        self.simulations.advance(np.clip(checked.astype(np.float64), -1.0, 1.0))
        scene = self.simulations.scene()
        success = self.rules.success(scene)
        truncated = (self.simulations.elapsed >= self.rules.horizon) & ~success
        infos: dict[str, Any] = {"success": success, "signals": self.simulations.signals(scene)}
        return self.current_observation(), success.astype(np.float32), success, truncated, infos

    def _next_seed(self, env: int) -> int:
        return int(self._generators[env].integers(2**31))

    def _start(self, index: np.ndarray, seeds: list[int]) -> None:
        self.simulations.start(index, seeds)
        self._episode_seed[index] = seeds

    def _add_final(
        self, infos: dict[str, Any], observation: dict[str, np.ndarray], ended: np.ndarray
    ) -> None:
        mask = np.zeros(self.num_envs, bool)
        mask[ended] = True
        final = np.full(self.num_envs, None, object)
        for i in ended:
            final[i] = {"state": observation["state"][i].copy()}
        infos["final_obs"], infos["_final_obs"] = final, mask
        infos["final_info"] = {
            "success": np.where(mask, infos["success"], False),
            "_success": mask,
        }
        infos["_final_info"] = mask

    def _use_schedule(self) -> None:
        """Let the schedule set last take effect."""
        if self._pending != self._schedule:
            self._close_renderer()
            self._schedule = self._pending

    def _due(self, ended: np.ndarray, schedule: CameraSchedule) -> np.ndarray:
        """Environments whose current state (after autoreset) needs a frame."""
        due = self.simulations.elapsed % schedule.stride == 0
        due[ended] = True
        return np.flatnonzero(due)

    def _render(self, index: np.ndarray, final: np.ndarray, schedule: CameraSchedule) -> FrameRows:
        """Frames of environments ``index`` as they are; ``final`` bool ``[K]`` marks last ones."""
        shape = (len(index), schedule.height, schedule.width, 3)
        views = {view: np.empty(shape, np.uint8) for view in schedule.views}
        for row, env in enumerate(index):
            for view, image in self._draw(int(env), schedule).items():
                views[view][row] = image
        return FrameRows(views, np.asarray(index, np.int64), final)

    @abstractmethod
    def _draw(self, env: int, schedule: CameraSchedule) -> dict[str, np.ndarray]:
        """View to uint8 ``[H, W, 3]`` of environment ``env`` as it is."""

    @abstractmethod
    def _close_renderer(self) -> None:
        """Free the GL context, if one is open."""


def check_settings(task: str, num_envs: int, horizon: int, profile: str) -> None:
    """Refuse what no batch can be made with.

    Raises:
        RoboError: for less than one environment or step, or an unknown profile.
    """
    if min(num_envs, horizon) < 1:
        raise RoboError(
            f"{task} got num_envs={num_envs} and horizon={horizon}, expected at least 1 each"
        )
    if profile not in PROFILES:
        raise RoboError(f"rendering profile {profile!r} does not exist, expected one of {PROFILES}")


def _joined(final: FrameRows | None, current: FrameRows) -> FrameRows:
    if final is None:
        return current
    return FrameRows(
        {name: np.concatenate([final.views[name], current.views[name]]) for name in final.views},
        np.concatenate([final.env, current.env]),
        np.concatenate([final.final, current.final]),
    )
