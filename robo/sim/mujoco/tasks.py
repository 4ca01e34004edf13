"""The three tasks: what is drawn, where things start, what counts as success.

All arrays are batched over simulations; nothing here steps or renders. Lengths are metres.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

HOME = np.array([0.0, -0.0871, 0.0, -2.5418, 0.0, 2.4546, 0.7854])
"""Arm joints (rad) that put the gripper's tool centre at (0.45, 0, 0.20), pointing down."""

OPEN = 0.04
"""Finger joint position (m) of the open gripper; 0 is closed."""


@dataclass(frozen=True)
class Scene:
    """What a task reads of the simulations after a step. Rows are simulations, K of them."""

    tool: np.ndarray
    """``[K, 3]`` tool centre point, m."""
    opening: np.ndarray
    """``[K]`` mean finger joint position, m, 0 ... 0.04."""
    cube: np.ndarray
    """``[K, 3]`` cube centre, m (zeros where the task has none)."""
    goal: np.ndarray
    """``[K, 3]`` goal position, m (zeros where the task has none)."""


class Task(ABC):
    """One task: its scene file, start distribution, success and true progress."""

    name: str = ""
    model_file: str = ""
    instruction: str = ""
    horizon: int = 60
    """Time limit in control steps (20 Hz)."""
    has_cube: bool = True
    has_goal: bool = False
    gripper: bool = True
    """Whether the fourth action moves the fingers (they stay closed otherwise)."""

    @abstractmethod
    def sample(self, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Where an episode starts: ``cube`` ``[3]`` (m) and ``yaw`` (rad), ``goal`` ``[3]`` (m)."""

    @abstractmethod
    def success(self, scene: Scene) -> np.ndarray:
        """Whether each simulation is solved now, bool ``[K]``."""

    @abstractmethod
    def progress(self, scene: Scene) -> np.ndarray:
        """True progress ``[K]`` in [0, 1], 1 at success; for tests and benchmarks only."""


def _closeness(distance: np.ndarray, scale: float) -> np.ndarray:
    return np.clip(1.0 - distance / scale, 0.0, 1.0)


class Reach(Task):
    """Bring the tool centre to the red ball."""

    name = "Reach"
    model_file = "reach.xml"
    instruction = "move the gripper to the red ball"
    horizon = 50
    has_cube = False
    has_goal = True
    gripper = False
    radius = 0.025

    def sample(self, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Ball anywhere in a 24 x 36 x 22 cm box above the table."""
        low, high = np.array([0.38, -0.18, 0.05]), np.array([0.62, 0.18, 0.27])
        while True:
            goal = generator.uniform(low, high)
            # Never solved at the start: every episode has at least one step to learn from.
            if np.linalg.norm(goal - np.array([0.45, 0.0, 0.20])) > 0.06:
                return {"goal": goal}

    def success(self, scene: Scene) -> np.ndarray:
        """Tool centre inside the ball (2.5 cm)."""
        return np.linalg.norm(scene.tool - scene.goal, axis=1) < self.radius

    def progress(self, scene: Scene) -> np.ndarray:
        """Closeness over 30 cm; 1 where solved."""
        near = _closeness(np.linalg.norm(scene.tool - scene.goal, axis=1), 0.30)
        return np.where(self.success(scene), 1.0, near)


class Push(Task):
    """Push the cube onto the green disc."""

    name = "Push"
    model_file = "push.xml"
    instruction = "push the red block onto the green disc"
    horizon = 80
    has_goal = True
    gripper = False
    radius = 0.035

    def sample(self, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Cube near the robot, disc 10 to 18 cm from it and farther from the robot."""
        cube = np.array([generator.uniform(0.42, 0.48), generator.uniform(-0.08, 0.08), 0.02])
        angle = generator.uniform(-0.6, 0.6)
        reach = generator.uniform(0.10, 0.18)
        goal = cube + reach * np.array([np.cos(angle), np.sin(angle), 0.0])
        goal[2] = 0.0005
        return {"cube": cube, "yaw": np.array(generator.uniform(-0.25, 0.25)), "goal": goal}

    def success(self, scene: Scene) -> np.ndarray:
        """Cube centre within 3.5 cm of the disc's centre, on the table."""
        flat = np.linalg.norm((scene.cube - scene.goal)[:, :2], axis=1)
        return (flat < self.radius) & (scene.cube[:, 2] < 0.03)

    def progress(self, scene: Scene) -> np.ndarray:
        """One third for the tool at the cube, two thirds for the cube at the disc.

        What a cube is off the table counts as distance too: carried above the disc, it is not
        there yet.
        """
        flat = np.linalg.norm((scene.cube - scene.goal)[:, :2], axis=1)
        off = np.maximum(flat - self.radius, 0.0) + np.maximum(scene.cube[:, 2] - 0.02, 0.0)
        tool = np.linalg.norm(scene.tool - scene.cube, axis=1)
        part = _closeness(tool - 0.04, 0.30) / 3 + 2 * _closeness(off, 0.20) / 3
        return np.where(self.success(scene), 1.0, part)


class Lift(Task):
    """Grasp the cube and lift it."""

    name = "Lift"
    model_file = "lift.xml"
    instruction = "lift the red cube"
    horizon = 60
    rest_height = 0.02
    lift_height = 0.06

    def sample(self, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Cube within 20 x 30 cm, yaw within 0.25 rad."""
        cube = np.array([generator.uniform(0.40, 0.60), generator.uniform(-0.15, 0.15), 0.02])
        return {"cube": cube, "yaw": np.array(generator.uniform(-0.25, 0.25))}

    def success(self, scene: Scene) -> np.ndarray:
        """Cube centre 6 cm above its rest and in the hand (within 4 cm of the tool centre)."""
        held = np.linalg.norm(scene.tool - scene.cube, axis=1) < 0.04
        return held & (scene.cube[:, 2] - self.rest_height > self.lift_height)

    def progress(self, scene: Scene) -> np.ndarray:
        """A third each for reaching, for grasping and for lifting."""
        distance = np.linalg.norm(scene.tool - scene.cube, axis=1)
        grasped = (distance < 0.025) & (np.abs(scene.opening - 0.02) < 0.004)
        height = np.clip((scene.cube[:, 2] - self.rest_height) / self.lift_height, 0.0, 1.0)
        # Neither a thrown cube is held, nor one that a finger tilts, which raises its centre too.
        around = (distance < 0.04) & (np.abs(scene.opening - 0.02) < 0.010)
        held = grasped | ((height > 0.1) & around)
        reach = np.where(held, 1.0, _closeness(distance, 0.30))
        return np.where(self.success(scene), 1.0, (reach + held + np.where(held, height, 0.0)) / 3)


TASKS: dict[str, type[Task]] = {task.name: task for task in (Reach, Push, Lift)}
