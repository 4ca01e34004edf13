"""``robosuite/<Task>``: robosuite's own tasks as robo's environments."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from robo.errors import RoboError
from robo.sim.robosuite.cameras import ROLES, TASK_VIEWS
from robo.sim.robosuite.compatibility import controller_options, prepare, version
from robo.sim.robosuite.environment import MODEL_SEED, RobosuiteEnvironment
from robo.sim.robosuite.options import RobosuiteOptions
from robo.sim.robosuite.success import Success, robosuite_success, strict_success
from robo.sim.robosuite.tasks import name_of, task

_RANDOM_OBJECT = {
    "PickPlaceSingle": ("objects", "object_id"),
    "NutAssemblySingle": ("nuts", "nut_id"),
}
"""Tasks that draw one of several objects, and where robosuite keeps objects and choice."""


class ManipulationEnvironment(RobosuiteEnvironment):
    """``robosuite/<Task>``; see :class:`RobosuiteEnvironment` for spaces and attributes."""

    def __init__(self, id: str, options: RobosuiteOptions) -> None:
        """Make ``id`` ("robosuite/Lift").

        Raises:
            UnknownTaskError: no such task.
            RoboError: an unknown robot, controller or camera, or versions that do not fit.
        """
        self.name = name_of(id)
        entry = task(id)
        strict = options.success == "strict"
        self._success: Success = strict_success(entry.family) if strict else robosuite_success
        horizon = options.horizon or entry.horizon
        super().__init__(
            functools.partial(_make_raw, self.name, horizon, options),
            task=f"robosuite/{self.name}",
            instruction=entry.instruction,
            max_episode_steps=horizon,
            cameras={**ROLES, **TASK_VIEWS.get(entry.family, {})},
            options=options,
        )
        vars(self)["metadata"] = {**self.metadata, "render_fps": options.control_frequency}

    def _begin(self, generator: np.random.Generator, options: Mapping[str, Any]) -> int | None:
        if self.name in _RANDOM_OBJECT:
            attribute, index = _RANDOM_OBJECT[self.name]
            count = len(getattr(self.raw, attribute))
            setattr(self.raw, f"_robo_{index}", int(generator.integers(count)))
        return super()._begin(generator, options)

    def _succeeded(self) -> bool:
        return self._success(self.raw)


def _make_raw(name: str, horizon: int, options: RobosuiteOptions) -> Any:
    """The environment of robosuite, without cameras: robo renders by itself."""
    robosuite = prepare()
    # Version 1.5 draws sizes from a generator of its own, 1.4 from NumPy's, which is seeded here.
    seed = {"seed": MODEL_SEED} if version() >= (1, 5) else {}
    try:
        raw = robosuite.make(
            name,
            robots=options.robot,
            **controller_options(options.robot, options.controller),
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            use_object_obs=True,
            reward_shaping=options.dense_reward,
            control_freq=options.control_frequency,
            horizon=horizon,
            ignore_done=True,
            hard_reset=options.hard_reset,
            **seed,
        )
    except (AssertionError, ValueError, KeyError) as error:
        raise RoboError(
            f"robosuite cannot make {name} with robot {options.robot} and controller "
            f"{options.controller}: {type(error).__name__} {error}; use robot='Panda' and "
            "controller='OSC_POSE'"
        ) from error
    if name in _RANDOM_OBJECT:
        _choose_by_index(raw, *_RANDOM_OBJECT[name])
    return raw


def _choose_by_index(raw: Any, attribute: str, index: str) -> None:
    """Let the object of an episode be ``raw._robo_<index>``.

    robosuite draws it from a list made of a set of strings, whose order differs from process to
    process: a seed would not decide it. As the mode for a named object does the same without
    drawing, that mode is on while an episode begins.
    """
    original = raw._reset_internal
    setattr(raw, f"_robo_{index}", 0)

    def reset_internal(self: Any) -> None:
        setattr(self, index, getattr(self, f"_robo_{index}"))
        self.single_object_mode = 2
        try:
            original()
        finally:
            self.single_object_mode = 1

    raw._reset_internal = types.MethodType(reset_internal, raw)
