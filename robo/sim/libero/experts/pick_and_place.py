"""Put things where a goal wants them: one script for LIBERO's pick-and-place tasks.

For each predicate that does not hold, ``On`` or ``In`` of a thing and a target: plan a grasp,
take the thing, carry it over everything on the way, lower it onto the target, let go. A grasp
that failed is followed by the next best one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robo.sim.libero.experts.grasps import plan
from robo.sim.libero.experts.scene import Scene
from robo.sim.robosuite.experts.arm import CLOSED, OPEN, Arm, Motion, Pose, Script, finger_yaw
from robo.sim.robosuite.experts.grasping import pick, release

OVER = 0.03
"""Clearance above everything on the way, m."""
CORRIDOR = 0.10
"""Half the width of the way that is kept clear, m."""
APART = 0.035
"""Sideways shift of the places of several things in one target, m."""

SLOW = 0.001
"""Way per step below which a thing counts as at rest, m."""


def pick_and_place(scene: Scene) -> Callable[[Arm], Script]:
    """The script for the goal of ``scene``."""

    def script(arm: Arm) -> Script:
        for attempt in range(12):
            yield from _settled(arm, scene)
            scene.update(arm)
            missing = [goal for goal in scene.predicates if not scene.satisfied(goal)]
            if not missing:
                missing = scene.predicates[-1:]  # near, but not in contact
            yield from _move(arm, scene, missing[0], attempt)

    script.__name__ = "pick_and_place"
    return script


def _settled(arm: Arm, scene: Scene, limit: int = 40) -> Motion:
    """Wait until nothing falls or rolls: some initial states begin with things in the air."""
    still = 0
    for _ in range(limit):
        before = np.array([arm[f"{name}_pos"] for name in scene.movable])
        yield arm.toward(arm.here(), OPEN)
        after = np.array([arm[f"{name}_pos"] for name in scene.movable])
        moved = np.abs(after - before).max()
        still = still + 1 if moved < SLOW else 0
        if still == 2:
            return True
    return False


def _move(arm: Arm, scene: Scene, goal: list[str], attempt: int) -> Motion:
    """Bring one thing to its target; whether it was let go there."""
    name = goal[1]
    found = plan(scene.points(name), scene.others(name), finger_yaw(arm), scene.base)
    if not found:
        yield from arm.hold(5, OPEN)
        return False
    grasp = found[min(len(found) - 1, 3 * attempt)].pose
    began = scene.position(name)
    hang = grasp.position[2] - float(scene.points(name)[:, 2].min())
    place = _place(scene, goal)
    hand = grasp.position - began
    highest = max(_highest(scene, name, began + beside, place + beside) for beside in (0.0, hand))
    above = _highest(scene, name, arm.position, grasp.position) + OVER - grasp.position[2]

    def following() -> Pose:
        """The grasp, moved with the thing if that is pushed."""
        return grasp.moved(arm[f"{name}_pos"] - began)

    if not (yield from pick(arm, following, max(0.09, above), 0.06, label=f" {name}")):
        return False
    held = arm[f"{name}_pos"] - arm.position
    if arm[f"{name}_pos"][2] < began[2] + 0.02:
        return False
    top = max(highest + OVER + hang, arm.position[2])
    yield from arm.reach(grasp.moved((0.0, 0.0, top - grasp.position[2])), CLOSED, 0.02, 0.3)

    def over(height: float) -> Pose:
        """The hand such that the thing is ``height`` above its place."""
        wanted = place + np.array([0.0, 0.0, height]) - (arm[f"{name}_pos"] - arm.position)
        return Pose(wanted, grasp.fingers, grasp.approach)

    arrived = yield from arm.reach(
        lambda: over(top + held[2] - place[2]), CLOSED, 0.012, 0.3, limit=100
    )
    if not arrived or arm.opening < 0.002:
        return False
    yield from arm.reach(lambda: over(0.004), CLOSED, 0.006, 0.3, limit=40, speed=0.6)
    return (yield from release(arm, rise=0.10, label=f" {name}"))


def _place(scene: Scene, goal: list[str]) -> np.ndarray:
    """``[3]``, where the origin of the goal's thing should come to rest, m."""
    kind, name, target = goal
    place = scene.position(target)
    same = [other for other in scene.predicates if other[-1] == target]
    if len(same) > 1:
        place[0] += APART * (2 * same.index(goal) - (len(same) - 1))
    lowest = scene.position(name)[2] - float(scene.points(name)[:, 2].min())
    parent = target if target in scene.things else scene.regions[target].parent
    if parent is None:  # a place on the table
        place[2] += lowest
        return place
    below = scene.points(parent)
    near = below[np.linalg.norm(below[:, :2] - place[:2], axis=1) < 0.03]
    if kind == "in":
        near = near[near[:, 2] < place[2]]
    surface = float(near[:, 2].max()) if len(near) else float(below[:, 2].min())
    place[2] = surface + lowest
    return place


def _highest(scene: Scene, name: str, start: np.ndarray, end: np.ndarray) -> float:
    """Top of everything but ``name`` near the straight way from ``start`` to ``end``, m."""
    points = scene.others(name)
    line = (end - start)[:2]
    share = (points[:, :2] - start[:2]) @ line / max(float(line @ line), 1e-9)
    nearest = start[:2] + np.clip(share, 0.0, 1.0)[:, None] * line
    close = points[np.linalg.norm(points[:, :2] - nearest, axis=1) < CORRIDOR]
    return float(close[:, 2].max()) if len(close) else float(min(start[2], end[2]))
