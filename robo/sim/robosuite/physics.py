"""One computation of the dynamics per physics step where robosuite 1.4 makes three.

robosuite 1.4 calls ``mj_forward``, its controller calls it again, and ``mj_step`` computes the
same once more. All three see the same positions and velocities, so the halves of a step give the
same bits: ``mj_step1`` before the controller (positions, velocities, mass matrix, bias forces:
all that controllers read), ``mj_step2`` after it (forces, constraints, integration).

The controllers' own reading of the state is replaced as well (:mod:`.controller_state`).

Only the force sensors differ, and only between the halves, where they are those of the physics
step before: Wipe records them there, and therefore keeps robosuite's way. robosuite 1.5 splits
its steps by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robo.sim.gl import import_mujoco
from robo.sim.robosuite.controller_state import states_of


class SplitPhysics:
    """Splits the physics steps of one robosuite environment while it steps."""

    def __init__(self, raw: Any) -> None:
        """Prepare ``raw``; it steps as robosuite does wherever this is not asked."""
        self.raw = raw
        self._mujoco = import_mujoco()  # here, so that a GL backend is chosen before
        self.possible = not hasattr(raw, "lite_physics") and not hasattr(raw, "wiped_markers")
        self._ready = False
        self._controllers: list[Any] = []
        if self.possible:
            self._after: Callable[..., Any] = raw._post_action
            raw._post_action = self._post_action

    def step(self, action: Any) -> Any:
        """``raw.step(action)``, to the same bits."""
        if not self.possible:
            return self.raw.step(action)
        sim = self.raw.sim
        self._ready = False
        sim.forward, sim.step = self._first_half, self._second_half
        for controller, read in states_of(self.raw, self._mujoco):
            controller.update = read
            self._controllers.append(controller)
        try:
            return self.raw.step(action)
        finally:
            self._restore()

    def _first_half(self) -> None:
        if not self._ready:
            sim = self.raw.sim
            self._mujoco.mj_step1(sim.model._model, sim.data._data)
            self._ready = True

    def _second_half(self, with_udd: bool = True) -> None:
        sim = self.raw.sim
        self._first_half()
        self._mujoco.mj_step2(sim.model._model, sim.data._data)
        self._ready = False

    def _post_action(self, action: Any) -> Any:
        self._restore()  # rewards and success rules may ask for a true ``forward``
        return self._after(action)

    def _restore(self) -> None:
        for name in ("forward", "step"):
            vars(self.raw.sim).pop(name, None)
        while self._controllers:
            vars(self._controllers.pop()).pop("update", None)
