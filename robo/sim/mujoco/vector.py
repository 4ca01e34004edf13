"""``mujoco/<Task>`` under the vector contract: seeds, autoreset and camera frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.actions import checked_actions
from robo.sim.contract import FrameRows, VectorEnvironment
from robo.sim.mujoco.rendering import PROFILES, Profile, ViewRenderer
from robo.sim.mujoco.simulation import SIGNALS, Simulations, state_size
from robo.sim.mujoco.tasks import TASKS
from robo.sim.vector import check_schedule

CAMERAS = ("front", "side", "wrist")

StepResult = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class MujocoVectorEnvironment(VectorEnvironment):
    """``mujoco/<Task>`` for N environments; see :class:`~robo.sim.contract.VectorEnvironment`.

    Actions are ``[N, 4]`` in [-1, 1] (clipped): tool displacement in x, y, z (times 2.5 cm per
    50 ms) and fingers (times 1.2 cm, positive opens; unused in Reach and Push).

    ``state`` is ``[joints 7, tool 3, tool velocity 3, finger opening 1, time 1]``, where time is
    the fraction of the limit that has passed (so that the finite horizon is part of the state);
    then, in tasks with a cube, ``[cube 3, cube - tool 3, quaternion w and z 2, velocity 3]``; then,
    in tasks with a goal, ``[goal 3, goal - cube (Reach: goal - tool) 3]``; last, ``[close-up 3,
    commanded fingers 1]``: the offset from tool to cube (Reach: goal) with its last centimetres
    spread out, and the finger command as a share of fully open. Radians, metres, m/s.

    Attributes:
        profile: how frames are drawn, "fast" or "faithful".
        simulations: the physics.
    """

    backend = "native"
    cameras = CAMERAS
    signal_names = SIGNALS

    def __init__(
        self, task: str, num_envs: int, threads: int = 0, profile: Profile = "fast"
    ) -> None:
        """Open ``num_envs`` simulations of ``task`` ("Lift"); 0 threads uses every core.

        Raises:
            RoboError: for less than one environment, or an unknown profile.
        """
        if num_envs < 1:
            raise RoboError(f"mujoco/{task} got num_envs={num_envs}, expected at least 1")
        if profile not in PROFILES:
            raise RoboError(
                f"rendering profile {profile!r} does not exist, expected one of {PROFILES}"
            )
        self.rules = TASKS[task]()
        self.task = f"mujoco/{task}"
        self.instruction = self.rules.instruction
        self.num_envs = num_envs
        self.profile: Profile = profile
        self.provenance = {"rendering_profile": profile}
        self.max_episode_steps = self.rules.horizon
        self.simulations = Simulations(self.rules, num_envs, threads)
        self._generators = [np.random.default_rng(i) for i in range(num_envs)]
        self._episode_seed = np.zeros(num_envs, np.int64)
        self._schedule: CameraSchedule | None = None
        self._pending: CameraSchedule | None = None
        self._renderer: ViewRenderer | None = None
        self._ready = False
        state = spaces.Box(-np.inf, np.inf, (state_size(self.rules),), np.float32)
        self.single_observation_space = spaces.Dict({"state": state})
        self.single_action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

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
        """One control step of all simulations (10 physics steps in native threads).

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
        if self._renderer is None:
            self._renderer = ViewRenderer(
                self.simulations.model,
                schedule.views,
                schedule.height,
                schedule.width,
                self.profile,
            )
        shape = (len(index), schedule.height, schedule.width, 3)
        views = {view: np.empty(shape, np.uint8) for view in schedule.views}
        for row, env in enumerate(index):
            images = self._renderer.render(*self.simulations.drawn_state(int(env)))
            for view, image in zip(schedule.views, images, strict=True):
                views[view][row] = image
        return FrameRows(views, np.asarray(index, np.int64), final)

    def _close_renderer(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _joined(final: FrameRows | None, current: FrameRows) -> FrameRows:
    if final is None:
        return current
    return FrameRows(
        {name: np.concatenate([final.views[name], current.views[name]]) for name in final.views},
        np.concatenate([final.env, current.env]),
        np.concatenate([final.final, current.final]),
    )
