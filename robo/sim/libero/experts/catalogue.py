"""Which tasks of LIBERO the scripted expert does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from robo.errors import RoboError
from robo.sim.libero.environment import LiberoEnvironment
from robo.sim.libero.experts.pick_and_place import pick_and_place
from robo.sim.libero.experts.scene import Scene
from robo.sim.libero.provider import make
from robo.sim.libero.suites import Task, task_of
from robo.sim.mujoco.expert import CLEAN, ExpertStyle
from robo.sim.robosuite.experts.actor import ScriptedManipulator

KINDS = ("on", "in")
"""Predicates that the expert can make true."""


def goal_kinds(task: Task) -> set[str]:
    """Predicates of a task's goal, lower case, read from its problem file."""
    from bddl.parsing import scan_tokens  # type: ignore[import-not-found]

    groups = scan_tokens(filename=str(task.problem))
    goal = next(group[1] for group in groups if group[0] == ":goal")
    return {str(predicate[0]).lower() for predicate in goal[1:]}


def make_expert(
    task: str,
    style: ExpertStyle = CLEAN,
    seed: int = 0,
    script: str = "expert",
    options: Mapping[str, Any] = MappingProxyType({}),
) -> ScriptedManipulator:
    """The scripted actor of a task whose goal is to put things on or into others.

    It is offered for every such task; how often it succeeds is another matter
    (``benchmarks/results/experts.json``). An environment of the task is made for a
    moment (a few seconds) to learn the scene.

    Raises:
        UnknownTaskError: no such task.
        RoboError: a goal that asks for more than putting things somewhere, a script other than
            "expert", or options that hide things from it.
    """
    if script != "expert":
        raise RoboError(f"script {script!r} does not exist for {task}; it has 'expert' alone")
    objects = options.get("objects", "all")
    if objects != "all":
        raise RoboError(
            f"the expert of {task} reads the poses of all things, but the option objects is "
            f"{objects!r}: leave it out, and drop what a policy should not read later"
        )
    beyond = goal_kinds(task_of(task)) - set(KINDS)
    if beyond:
        raise RoboError(
            f"task {task!r} has no scripted expert: its goal asks for {sorted(beyond)}, and the "
            "expert only puts things on or in others"
        )
    environment = make(task)
    assert isinstance(environment, LiberoEnvironment)
    try:
        act = pick_and_place(Scene(environment))
        return ScriptedManipulator(act, environment.state_layout, style, seed)
    finally:
        environment.close()
