"""The plan of an evaluation: which policy starts from which scene, in what order.

Trials come in blocks: one task, one initial state, every policy once, in a random order. So the
policies are paired by initial state, and whatever drifts (light, wear, the operator) falls on all
of them alike.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robo.robots.robot import RobotError

CODES = "ACDEFGHJKLMNPQRTUVWXYZ"
"""Blind names of policies; letters that cannot be taken for digits."""


@dataclass(frozen=True)
class Plan:
    """What is compared."""

    policies: tuple[str, ...]
    """Specifications of the policies, see ``robo.robots.policies.load_robot_policy``."""
    tasks: tuple[str, ...] = ("mujoco/Lift",)
    """Task ids, or the tasks in words; blocks go round through them."""
    trials: int = 20
    """Trials of each policy, that is, blocks."""
    initial_states: tuple[int, ...] = ()
    """Numbers of initial states, a block each, round and round; none takes 5000, 5001, ..."""
    descriptions: dict[str, str] = field(default_factory=dict)
    """Initial state to how it looks, for the operator: "5000" to "cube on mark A"."""

    def __post_init__(self) -> None:
        """Refuse what compares nothing."""
        if not self.policies or not self.tasks or self.trials < 1:
            raise RobotError(
                f"the plan has {len(self.policies)} policies, {len(self.tasks)} tasks and "
                f"{self.trials} trials, expected at least 1 of each"
            )
        if len(set(self.policies)) < len(self.policies):
            raise RobotError(f"the plan names a policy twice: {list(self.policies)}")
        if len(self.policies) > len(CODES):
            raise RobotError(f"a plan compares at most {len(CODES)} policies")

    @property
    def states(self) -> tuple[int, ...]:
        """The initial states that the blocks go through."""
        return self.initial_states or tuple(range(5000, 5000 + self.trials))


@dataclass(frozen=True)
class Trial:
    """One trial of the plan; knows its policy by code alone."""

    index: int
    """Its place in the order, from 0."""
    block: int
    """Trials of a block share task and initial state."""
    task: str
    """Task id or words."""
    initial_state: int
    """Number of the initial state."""
    code: str
    """Blind name of the policy."""


def draw_codes(plan: Plan, generator: np.random.Generator) -> dict[str, str]:
    """A random code for each policy: code to specification."""
    drawn = generator.choice(list(CODES), len(plan.policies), replace=False)
    return dict(sorted(zip(map(str, drawn), plan.policies, strict=True)))


def draw_order(plan: Plan, codes: list[str], generator: np.random.Generator) -> list[Trial]:
    """All trials: blocks in random order, the policies of each in random order."""
    trials = []
    for block in generator.permutation(plan.trials).tolist():
        for code in generator.permutation(codes):
            task = plan.tasks[block % len(plan.tasks)]
            state = plan.states[block % len(plan.states)]
            trials.append(Trial(len(trials), block, task, state, str(code)))
    return trials


def read_plan(path: Path) -> Plan:
    """A plan from a TOML or JSON file with the fields of :class:`Plan`.

    ``task = "..."`` stands for one task, ``initial_states = "5000-5039"`` for a range.

    Raises:
        RobotError: where it cannot be read, or a field is unknown or of another kind.
    """
    try:
        text = path.read_text()
        values: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise RobotError(f"cannot read the plan {path}: {error}") from error
    known = ("policies", "task", "tasks", "trials", "initial_states", "descriptions")
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise RobotError(f"the plan {path} has unknown entries {unknown}, expected {list(known)}")
    if "task" in values:
        values["tasks"] = [values.pop("task")]
    states = values.get("initial_states", [])
    try:
        if isinstance(states, str):
            first, _, last = states.partition("-")
            states = range(int(first), int(last or first) + 1)
        return Plan(
            policies=tuple(map(str, values.get("policies", ()))),
            tasks=tuple(map(str, values.get("tasks", ("mujoco/Lift",)))),
            trials=int(values.get("trials", len(states) or 20)),
            initial_states=tuple(map(int, states)),
            descriptions={str(k): str(v) for k, v in values.get("descriptions", {}).items()},
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise RobotError(f"the plan {path} is not as expected: {error}") from error
