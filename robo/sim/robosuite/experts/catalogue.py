"""Which tasks of robosuite have a scripted expert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from robo.errors import RoboError
from robo.sim.mujoco.expert import CLEAN, ExpertStyle
from robo.sim.robosuite.experts.actor import ScriptedManipulator
from robo.sim.robosuite.experts.arm import Arm, Script
from robo.sim.robosuite.experts.door import door
from robo.sim.robosuite.experts.lift import lift
from robo.sim.robosuite.experts.pick_place_can import pick_place_can
from robo.sim.robosuite.experts.stack import stack
from robo.sim.robosuite.manipulation import ManipulationEnvironment
from robo.sim.robosuite.provider import make

EXPERTS: dict[str, Callable[[Arm], Script]] = {
    "robosuite/Lift": lift,
    "robosuite/Stack": stack,
    "robosuite/PickPlaceCan": pick_place_can,
    "robosuite/Door": door,
}
"""Task id to script."""


def make_expert(
    task: str,
    style: ExpertStyle = CLEAN,
    seed: int = 0,
    script: str = "expert",
    options: Mapping[str, Any] = MappingProxyType({}),
) -> ScriptedManipulator:
    """The scripted actor of a task with its default robot and controller.

    An environment of the task is made for a moment (about a second) to learn what its state
    vector holds.

    Raises:
        RoboError: a task without an expert, a script other than "expert", or options with another
            controller.
    """
    if task not in EXPERTS:
        raise RoboError(f"task {task!r} has no scripted expert; these have: {list(EXPERTS)}")
    if script != "expert":
        raise RoboError(f"script {script!r} does not exist for {task}; it has 'expert' alone")
    controller = options.get("controller", "OSC_POSE")
    if controller != "OSC_POSE":
        raise RoboError(
            f"the expert of {task} acts with controller OSC_POSE, not {controller!r}; leave the "
            "option controller out"
        )
    environment = make(task)
    assert isinstance(environment, ManipulationEnvironment)
    try:
        return ScriptedManipulator(EXPERTS[task], environment.state_layout, style, seed)
    finally:
        environment.close()
