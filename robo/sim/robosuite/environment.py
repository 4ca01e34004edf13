"""robosuite behind robo's contract: one environment, its state vector, its camera frames.

:class:`RobosuiteEnvironment` serves any environment object of robosuite, LIBERO's too: a
subclass says how an episode begins (:meth:`~RobosuiteEnvironment._begin`), when it has succeeded
(:meth:`~RobosuiteEnvironment._succeeded`) and what else belongs to its exact state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.actions import checked_actions
from robo.sim.contract import Environment, StateNotSupportedError
from robo.sim.robosuite import snapshot
from robo.sim.robosuite.cameras import Camera, roles_of, with_extra
from robo.sim.robosuite.fresh import Pristine
from robo.sim.robosuite.options import ViewOptions
from robo.sim.robosuite.physics import SplitPhysics
from robo.sim.robosuite.randomness import seeded
from robo.sim.robosuite.rendering import SceneRenderer
from robo.sim.robosuite.segments import Segments
from robo.sim.state import generator_state, restore_generator
from robo.sim.vector import check_schedule

MODEL_SEED = 0
"""Seed under which a model is compiled, so that equal ids are equal scenes."""


class RobosuiteEnvironment(Environment):
    """A robosuite environment with Dict observations, sparse success and camera frames.

    * ``state``: float32, proprioception (joint angles as cosine and sine, joint velocities in
      rad/s, end effector position in m and quaternion xyzw, gripper) then object state; where
      which entry lies is in ``state_layout``.
    * ``views/<role>``: uint8 ``[H, W, 3]``, for the views that ``options.observation_views`` asks.
    * actions: float32 in [-1, 1] (OSC_POSE: 3 for translation, 3 for rotation as an axis angle,
      1 for the gripper, -1 open and 1 closed).
    * reward: 1 with the step that succeeds, which terminates; else 0.

    Attributes:
        raw: robosuite's own environment object; privileged state for scripted experts.
        profile: rendering profile, to be recorded with the data.
        state_layout: name of each observable to its slice of ``state``.
        renderer: draws the cameras; opens its GL context with the first image.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}  # type: ignore[misc]

    def __init__(
        self,
        raw_factory: Callable[[], Any],
        *,
        task: str,
        instruction: str,
        max_episode_steps: int,
        cameras: Mapping[str, Camera],
        options: ViewOptions,
    ) -> None:
        """Make the environment.

        Args:
            raw_factory: returns a robosuite environment without cameras or renderer
                (``has_offscreen_renderer=False, use_camera_obs=False, ignore_done=True``).
            task: registry id.
            instruction: the task in words.
            max_episode_steps: steps after which an episode is truncated.
            cameras: role to camera; those that the scene has are offered.
            options: how cameras are rendered.

        Raises:
            RoboError: a camera or role that does not exist.
        """
        self.task, self.instruction = task, instruction
        self.max_episode_steps = self._limit = max_episode_steps
        self.options, self.profile = options, options.profile
        self.render_mode = options.render_mode
        with seeded(MODEL_SEED):
            self.raw = raw_factory()
        _observe_once_per_step(self.raw)
        self._pristine = Pristine(self.raw)
        self._physics = SplitPhysics(self.raw)
        model = self._model()
        self._views = with_extra(task, model, roles_of(model, cameras), options.cameras)
        self.cameras = tuple(self._views)
        self._check_views(options.observation_views)
        self.renderer = self._new_renderer()
        self._segments = Segments(options.segmentation)
        self._schedule: CameraSchedule | None = None
        self._pending: CameraSchedule | None = None
        self._elapsed, self._over, self._closed = 0, True, False
        self._seed: int | None = None
        self._episode_seed = MODEL_SEED
        self._initial_state: int | None = None
        with seeded(MODEL_SEED, self.raw):
            self.raw.reset()
        self.state_layout = self._layout()
        self._set_spaces()

    # What LIBERO's environments do in their own way.

    def _begin(self, generator: np.random.Generator, options: Mapping[str, Any]) -> int | None:
        """Begin an episode; everything random in it comes from ``generator`` or global ones.

        Args:
            generator: seeded for this episode alone.
            options: of ``reset``; after :meth:`load_state_dict`, ``{"initial_state": i}`` if the
                episode began from initial state i.

        Returns:
            The initial state's index, or None where states are drawn.
        """
        if options.get("initial_state") is not None:
            raise RoboError(
                f"{self.task} has no numbered initial states; choose a seed in place of "
                f"initial_state={options['initial_state']}"
            )
        self.raw.reset()
        return None

    def _succeeded(self) -> bool:
        """Whether the current state is a success."""
        return bool(self.raw._check_success())

    def _extra_state(self) -> dict[str, Any]:
        """What else belongs to the exact state: tensors, numbers, strings, lists, dicts."""
        return {}

    def _load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`_extra_state` returned."""

    # The contract.

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; equal seeds give bit-identical episodes, whatever came before."""
        self._check_open()
        super().reset(seed=seed)
        self._seed = seed
        self._start(int(self.np_random.integers(2**31)), options or {})
        self._schedule = self._pending
        observation, info = self._observation(), self._info()
        self._add_frames(info)
        return observation, info

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step.

        Raises:
            RoboError: before ``reset``, after the end, or an action of a wrong shape or not finite.
        """
        self._check_open()
        if self._over:
            raise RoboError(f"{self.task}: no episode is running, call reset() before step()")
        checked = checked_actions(np.asarray(action)[None], self.action_space, 1)[0]
        self._raw_observation, reward, ended, _ = self._physics.step(checked.astype(np.float64))
        self._elapsed += 1
        success = self._succeeded()
        terminated = success or bool(ended)
        truncated = not terminated and self._elapsed >= self._limit
        self._over = terminated or truncated
        info = {**self._info(), "success": success, "signals": {}}
        schedule = self._schedule
        if schedule is not None and (self._over or self._elapsed % schedule.stride == 0):
            self._add_frames(info)
        paid = float(reward) if getattr(self.options, "dense_reward", False) else float(success)
        return self._observation(), paid, terminated, truncated, info

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` from the next reset or restored state on; None stops at once.

        Raises:
            RoboError: a view that the scene does not have.
        """
        check_schedule(self.task, self.cameras, schedule)
        self._pending = schedule
        if schedule is None:
            self._schedule = None

    def episode_info(self) -> EpisodeInfo:
        """Task, instruction, initial state and seed of the current episode."""
        return EpisodeInfo(
            self.task, self.instruction, initial_state=self._initial_state, seed=self._seed
        )

    def state_dict(self) -> dict[str, Any]:
        """Exact state; an episode restored from it goes on bit for bit.

        Raises:
            StateNotSupportedError: before the first reset.
        """
        if self._np_random is None:
            raise StateNotSupportedError(f"{self.task} has no state before its first reset")
        return {
            "generator": generator_state(self._np_random),
            "seed": self._seed,
            "episode_seed": self._episode_seed,
            "initial_state": self._initial_state,
            "elapsed": self._elapsed,
            "over": self._over,
            "schedule": None if self._schedule is None else asdict(self._schedule),
            "simulation": snapshot.take(self.raw),
            "extra": self._extra_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, into this or another environment of the id."""
        self._check_open()
        initial = state["initial_state"]
        self._start(state["episode_seed"], {} if initial is None else {"initial_state": initial})
        snapshot.put(self.raw, state["simulation"])
        self._load_extra_state(state["extra"])
        self._np_random = restore_generator(state["generator"])
        self._seed = state["seed"]
        self._elapsed, self._over = int(state["elapsed"]), bool(state["over"])
        self._raw_observation = self.raw._get_observations()
        snapshot.put_observed(self.raw, state["simulation"])
        saved = state["schedule"]
        self._schedule = None
        if saved is not None:
            self._schedule = CameraSchedule(**{**saved, "views": tuple(saved["views"])})
            self._pending = self._schedule

    def render(self) -> np.ndarray | None:
        """The front view, uint8 ``[480, 640, 3]``, with ``render_mode="rgb_array"``."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() needs render_mode='rgb_array'")
            return None
        role = "front" if "front" in self.cameras else self.cameras[0]
        return self._current_renderer().frames((role,), 480, 640)[role]

    def close(self) -> None:
        """Free the GL context and the simulation."""
        if not self._closed:
            self._closed = True
            self.renderer.close()
            self.raw.close()

    # Inside.

    def _check_open(self) -> None:
        if self._closed:
            raise RoboError(f"this environment of {self.task} is closed; make a new one")

    def _model(self) -> Any:
        return self.raw.sim.model._model

    def _check_views(self, views: tuple[str, ...]) -> None:
        if views:
            check_schedule(self.task, self.cameras, CameraSchedule(views))

    def _new_renderer(self) -> SceneRenderer:
        data = self.raw.sim.data._data
        return SceneRenderer(self._model(), data, self._views, self.options.profile)

    def _current_renderer(self) -> SceneRenderer:
        """The renderer of the present model: a hard reset makes another."""
        self._check_open()
        if self.renderer.data is not self.raw.sim.data._data:
            self.renderer.close()
            self.renderer = self._new_renderer()
        return self.renderer

    def _start(self, episode_seed: int, options: Mapping[str, Any]) -> None:
        self._episode_seed = episode_seed
        self._pristine.restore(self.raw)
        with seeded(episode_seed, self.raw):
            self._initial_state = self._begin(np.random.default_rng(episode_seed), options)
        self._raw_observation = self.raw._get_observations()
        self._elapsed, self._over = 0, False

    def _info(self) -> dict[str, Any]:
        return {"instruction": self.instruction, "initial_state": self._initial_state}

    def _add_frames(self, info: dict[str, Any]) -> None:
        schedule = self._schedule
        if schedule is None:
            return
        renderer, size = self._current_renderer(), (schedule.height, schedule.width)
        info["frames"] = renderer.frames(schedule.views, *size)
        if self.options.depth:
            info["depth"] = renderer.depth(schedule.views, *size)
        if self.options.segmentation != "none":
            geoms = renderer.segmentation(schedule.views, *size)
            info["segmentation"] = self._segments.of(self.raw, geoms)

    @property
    def segment_names(self) -> tuple[str, ...]:
        """What the numbers of ``info["segmentation"]`` mean, in order."""
        return self._segments.names(self.raw)

    def _observation(self) -> dict[str, np.ndarray]:
        values = [self._raw_observation[name] for name in _STATE if name in self._raw_observation]
        state = np.concatenate(values).astype(np.float32)
        observation = {"state": state if self._kept is None else state[self._kept]}
        options = self.options
        if options.observation_views:
            images = self._current_renderer().frames(
                options.observation_views, options.view_height, options.view_width
            )
            observation |= {f"views/{role}": image for role, image in images.items()}
        return observation

    def _layout(self) -> dict[str, slice]:
        """Name of each observable to its slice of ``state``, in robosuite's own order.

        Sets ``_kept``, the indices into robosuite's own vector that make up ``state``; None: all.
        """
        layout: dict[str, slice] = {}
        kept: list[int] = []
        passed = 0
        observables = self.raw._observables
        for group in _STATE:
            modality = group.removesuffix("-state")
            for name, observable in observables.items():
                if observable.modality != modality or not observable.is_active():
                    continue
                size = int(np.size(observable.obs))
                if self._reads(name):
                    layout[name] = slice(len(kept), len(kept) + size)
                    kept += range(passed, passed + size)
                passed += size
        self._kept = None if len(kept) == passed else np.array(kept)
        return layout

    def _reads(self, name: str) -> bool:
        """Whether the observable ``name`` is part of ``state``."""
        return True

    def _set_spaces(self) -> None:
        with seeded(MODEL_SEED, self.raw):
            self._raw_observation = self.raw._get_observations()
        size = sum(part.stop - part.start for part in self.state_layout.values())
        entries: dict[str, spaces.Space] = {
            "state": spaces.Box(-np.inf, np.inf, (size,), np.float32)
        }
        shape = (self.options.view_height, self.options.view_width, 3)
        for role in self.options.observation_views:
            entries[f"views/{role}"] = spaces.Box(0, 255, shape, np.uint8)
        self.observation_space = spaces.Dict(entries)
        low, high = (np.asarray(bound, dtype=np.float32) for bound in self.raw.action_spec)
        self.action_space = spaces.Box(low, high, dtype=np.float32)


_STATE = ("robot0_proprio-state", "object-state")
"""robosuite's groups of observables that make up the state vector."""


def _observe_once_per_step(raw: Any) -> None:
    """Read the observables once after each control step, not after each physics step.

    robosuite asks all of them after every physics step to simulate sampling rates and delays,
    which are unused here; the values at the control step's end are the same.
    """
    update, observe = raw._update_observables, raw._get_observations

    def update_if_forced(force: bool = False) -> None:
        if force:
            update(force=True)

    def observe_now(force_update: bool = True) -> Any:
        return observe(force_update=True)

    raw._update_observables = update_if_forced
    raw._get_observations = observe_now
