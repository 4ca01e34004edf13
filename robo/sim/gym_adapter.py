"""Any gymnasium environment under robo's contract, as ``gym/<id>``."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium import error as gym_error
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from robo.errors import MissingExtraError, RenderingError, RoboError, UnknownTaskError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.actions import checked_actions
from robo.sim.contract import Environment, StateNotSupportedError, VectorEnvironment
from robo.sim.gl import choose_backend, import_mujoco
from robo.sim.gym_spaces import adapted_observation
from robo.sim.state import gymnasium_state, restore_gymnasium_state
from robo.sim.vector import check_schedule

PREFIX = "gym/"
_NEEDS = {
    "gymnasium.envs.box2d": ("Box2D",),
    "gymnasium.envs.mujoco": ("mujoco", "imageio"),
    "gymnasium.envs.phys2d": ("jax",),
    "gymnasium.envs.tabular": ("jax",),
}
_ACTIONS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class GymEnvironment(Environment):
    """A gymnasium environment with Dict observations, ``success`` and camera frames.

    * ``success`` is the environment's own ``is_success`` or ``success`` info, else False; it
      terminates.
    * The time limit of the registration is kept (counted here, not by gymnasium's wrapper, which
      saves two calls per step); where an episode ends by both, ``terminated`` wins.
    * Role ``front`` is ``render()``, resized to the camera schedule.
    * The action space is the environment's own; actions are not clipped.
    """

    def __init__(self, name: str, **options: Any) -> None:
        """Make ``gymnasium.make(name, **options)``.

        Raises:
            UnknownTaskError: gymnasium does not know the id.
            MissingExtraError: a package that the environment needs is not installed.
            RoboError: spaces that robo cannot express.
        """
        self.task = PREFIX + name
        made = _gymnasium_make(name, options)
        self.max_episode_steps = None
        while isinstance(made, (TimeLimit, OrderEnforcing, PassiveEnvChecker)):
            if isinstance(made, TimeLimit):
                inner = self.max_episode_steps or made._max_episode_steps
                self.max_episode_steps = min(inner, made._max_episode_steps)
            made = made.env
        self.core: gymnasium.Env = made
        self._base = made.unwrapped
        if not isinstance(made.action_space, _ACTIONS):
            raise RoboError(
                f"{self.task} has actions {made.action_space}; robo needs a box or discrete space"
            )
        self.action_space = made.action_space
        self.observation_space, self._convert = adapted_observation(
            self.task, made.observation_space
        )
        if "rgb_array" in made.metadata.get("render_modes", []):
            self.cameras = ("front",)
            self.render_mode = "rgb_array"
        modes = ["rgb_array"] if self.cameras else []
        self.metadata = {"render_modes": modes, "render_fps": made.metadata.get("render_fps", 30)}
        self._limit = self.max_episode_steps or sys.maxsize
        self._elapsed = -1
        self._seed: int | None = None
        self._schedule: CameraSchedule | None = None
        self._pending: CameraSchedule | None = None

    @property
    def _np_random(self) -> np.random.Generator | None:  # type: ignore[override]
        """The wrapped environment's generator: there is only one."""
        return self._base._np_random

    @_np_random.setter
    def _np_random(self, generator: np.random.Generator | None) -> None:
        self._base._np_random = generator

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; without a seed the environment's own generator goes on."""
        observation, info = self.core.reset(seed=seed, options=options)
        self._elapsed = 0
        self._seed = seed
        self._schedule = self._pending
        if self._schedule is not None:
            _render_fast(self._base)
        info["instruction"] = self.instruction
        info["initial_state"] = None
        if self._schedule is not None:
            info["frames"] = self._frames(self._schedule)
        return self._convert(observation), info

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One step; see :class:`~robo.sim.contract.Environment`.

        Raises:
            RoboError: an action of a wrong shape, or not finite.
        """
        batch = checked_actions(np.asarray(action)[None], self.action_space, 1)
        observation, reward, terminated, truncated, info = self.step_checked(batch[0])
        fresh = {key: np.array(value) for key, value in observation.items()}
        return fresh, reward, terminated, truncated, info

    def step_checked(
        self, action: Any
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """:meth:`step` for callers that checked the actions and copy the observation at once."""
        if self._elapsed < 0:
            raise RoboError(f"step() of {self.task} came before reset(); call reset() first")
        observation, reward, terminated, truncated, info = self.core.step(action)
        self._elapsed += 1
        success = bool(info and info.get("is_success", info.get("success", False)))
        terminated = bool(terminated) or success
        truncated = not terminated and (bool(truncated) or self._elapsed >= self._limit)
        info["success"] = success
        info["signals"] = {}
        schedule = self._schedule
        if schedule is not None and (
            terminated or truncated or self._elapsed % schedule.stride == 0
        ):
            info["frames"] = self._frames(schedule)
        return self._convert(observation), float(reward), terminated, truncated, info

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` from the next reset on; None stops at once."""
        check_schedule(self.task, self.cameras, schedule)
        self._pending = schedule
        if schedule is None:
            self._schedule = None

    def render(self) -> np.ndarray:
        """The current state as the environment draws it, uint8 ``[H, W, 3]``.

        Raises:
            MissingExtraError: a package that drawing needs is not installed.
            RenderingError: the environment draws nothing, or no GL backend works.
        """
        try:
            image: Any = self.core.render()
        except gym_error.DependencyNotInstalled as error:
            raise MissingExtraError(f"{self.task} cannot render: {error}") from error
        except Exception as error:
            raise RenderingError(
                f"{self.task} cannot render ({type(error).__name__}: {error}); run `robo doctor` "
                "to see which GL backends work, or train from state without cameras"
            ) from error
        if image is None:
            raise RenderingError(f"{self.task} draws no images; train from state without cameras")
        return np.ascontiguousarray(image)

    def _frames(self, schedule: CameraSchedule) -> dict[str, np.ndarray]:
        """The current state as ``front``."""
        import cv2

        size = (schedule.width, schedule.height)
        front = cv2.resize(self.render(), size, interpolation=cv2.INTER_AREA)
        return {"front": front}

    @property
    def time_limit(self) -> int:
        """Steps of an episode at most; ``sys.maxsize`` without a limit."""
        return self._limit

    def episode_info(self) -> EpisodeInfo:
        """Task and, after a seeded reset, the seed."""
        return EpisodeInfo(self.task, self.instruction, seed=self._seed)

    def state_dict(self) -> dict[str, Any]:
        """Exact state of gymnasium's classic-control and MuJoCo environments.

        Raises:
            StateNotSupportedError: for any other environment.
        """
        if self.core is not self._base:
            raise StateNotSupportedError(
                f"{self.task} cannot save its exact state: it is wrapped in {self.core}"
            )
        schedule = self._schedule
        camera = None
        if schedule is not None:
            camera = [list(schedule.views), schedule.height, schedule.width, schedule.stride]
        return {
            "core": gymnasium_state(self.core),
            "elapsed": self._elapsed,
            "seed": self._seed,
            "camera": camera,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        restore_gymnasium_state(self.core, state["core"])
        self._elapsed = state["elapsed"]
        self._seed = state["seed"]
        if state["camera"] is None:
            self._schedule = None
        else:
            views, height, width, stride = state["camera"]
            self._schedule = CameraSchedule(tuple(views), height, width, stride)
            self._pending = self._schedule

    def close(self) -> None:
        """Close the wrapped environment."""
        self.core.close()
        # Free GL contexts now: at the interpreter's exit EGL is gone, and freeing them then
        # prints tracebacks.
        if getattr(self._base, "mujoco_renderer", None) is not None:
            vars(self._base)["mujoco_renderer"] = None


def _gymnasium_make(name: str, options: dict[str, Any]) -> gymnasium.Env:
    """``gymnasium.make`` with ``rgb_array`` rendering where there is any."""
    choose_backend()  # before gymnasium imports MuJoCo
    module, _, registered = name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)  # where the id is registered
        spec = gymnasium.spec(registered)
        entry = spec.entry_point
        if isinstance(entry, str) and entry.startswith("gymnasium.envs.mujoco"):
            import_mujoco()  # one sentence where MUJOCO_GL names no backend
        creator = load_env_creator(entry) if isinstance(entry, str) else entry
        modes = getattr(creator, "metadata", {}).get("render_modes", [])
        if "rgb_array" in modes:
            options = {"render_mode": "rgb_array", **options}
        return gymnasium.make(name, disable_env_checker=True, **options)
    except gym_error.UnregisteredEnv as error:
        raise UnknownTaskError(f"gymnasium knows no {name!r}: {error}") from error
    except (gym_error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise MissingExtraError(f"{PREFIX}{name} needs a missing package: {error}") from error
    except (TypeError, gym_error.Error) as error:
        raise RoboError(f"{PREFIX}{name} cannot be made with {options}: {error}") from error


def _render_fast(base: Any) -> None:
    """No shadows, reflections or multisampling: many times the frames in software, same physics.

    Takes effect where no frame has been rendered before.
    """
    if hasattr(base, "mujoco_renderer"):
        base.model.vis.quality.offsamples = 0
        base.model.vis.quality.shadowsize = 0
        base.model.mat_reflectance[:] = 0


def make(task: str, **options: Any) -> GymEnvironment:
    """The environment ``gym/<id>``; ``options`` go to ``gymnasium.make``."""
    return GymEnvironment(task.removeprefix(PREFIX), **options)


def make_vec(
    task: str, num_envs: int, backend: str = "auto", **options: Any
) -> VectorEnvironment | None:
    """The native environment where there is one for the id and options, else None.

    ``options`` as :func:`~robo.sim.native_gym.make.make_native`.
    """
    if backend not in ("auto", "native"):
        return None
    from robo.sim.native_gym.make import make_native

    return make_native(task.removeprefix(PREFIX), num_envs, **options)


def task_ids() -> list[str]:
    """``gym/<id>`` of the newest version of each environment that can be made here."""
    newest: dict[str, EnvSpec] = {}
    for spec in gymnasium.registry.values():
        base = re.sub(r"-v\d+$", "", spec.id)
        if _can_be_made(spec) and (
            base not in newest or (spec.version or 0) > (newest[base].version or 0)
        ):
            newest[base] = spec
    return sorted(PREFIX + spec.id for spec in newest.values())


def _can_be_made(spec: EnvSpec) -> bool:
    """Whether an environment's packages are installed; False for gymnasium's tombstones."""
    if not isinstance(spec.entry_point, str):
        name = getattr(spec.entry_point, "__name__", "_raise")
        return not name.startswith("_raise")
    return all(
        importlib.util.find_spec(package) is not None
        for module, packages in _NEEDS.items()
        if spec.entry_point.startswith(module)
        for package in packages
    )
