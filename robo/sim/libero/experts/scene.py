"""The scene of a LIBERO task as its expert knows it: where everything is, and its shape.

A copy of the simulator's model, posed from the state vector alone, so that one expert serves
environments in any process.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.sim.libero.environment import LiberoEnvironment
from robo.sim.robosuite.experts.arm import Arm

SPACING = 0.006
"""Between points sampled on surfaces, m."""


@dataclass(frozen=True)
class Region:
    """A box in which, or on which, a goal wants things."""

    site: int
    """Id of its site in the model."""
    parent: str | None
    """The object or fixture it belongs to; None for places on the table."""
    half: np.ndarray
    """``[3]``, half its sides, m."""


class Scene:
    """Objects, fixtures and regions of one task.

    Attributes:
        predicates: the goal, LIBERO's ``["on", "akita_black_bowl_1", "plate_1"]``.
        regions: name to region.
        things: names of objects and fixtures.
        movable: names of objects.
        base: ``[2]``, where the robot stands, m.
    """

    def __init__(self, environment: LiberoEnvironment) -> None:
        """Copy what is needed of ``environment``, which can be closed afterwards."""
        import mujoco

        raw: Any = environment.raw
        self._mujoco = mujoco
        self.model: Any = copy.copy(raw.sim.model._model)
        self.data: Any = mujoco.MjData(self.model)
        self.data.qpos[:] = raw.sim.data._data.qpos
        self.predicates = [list(predicate) for predicate in environment.goal.predicates]
        self._body = {name: int(body) for name, body in raw.obj_body_id.items()}
        self.things = tuple(self._body)
        self.movable = tuple(raw.objects_dict)
        self._free = {
            name: int(self.model.jnt_qposadr[self.model.body_jntadr[self._body[name]]])
            for name in raw.objects_dict
        }
        self._joints = {
            name: [int(self.model.joint(joint).qposadr[0]) for joint in fixture.joints]
            for name, fixture in raw.fixtures_dict.items()
        }
        self.regions = {
            name: Region(
                int(self.model.site(name).id),
                getattr(site, "parent_name", None),
                np.array(site.size, float),
            )
            for name, site in raw.object_sites_dict.items()
        }
        body = self.model.body("robot0_base").id
        self.base = np.array(raw.sim.data._data.xpos[body][:2])
        self._surface = {name: self._sampled(name) for name in self.things}

    def _sampled(self, name: str) -> list[tuple[int, np.ndarray]]:
        """Geoms that collide, and points ``[P, 3]`` on their surface in their own frames."""
        model, root = self.model, self.model.body_rootid[self._body[name]]
        box = self._mujoco.mjtGeom.mjGEOM_BOX.value
        geoms = [
            geom
            for geom in range(model.ngeom)
            if model.body_rootid[model.geom_bodyid[geom]] == root
            and model.geom_contype[geom]
            and model.geom_type[geom] == box
        ]
        return [(geom, _box_surface(model.geom_size[geom])) for geom in geoms]

    def update(self, arm: Arm) -> None:
        """Take the poses of everything from what ``arm`` senses."""
        for name, address in self._free.items():
            self.data.qpos[address : address + 3] = arm[f"{name}_pos"]
            self.data.qpos[address + 3 : address + 7] = np.roll(arm[f"{name}_quat"], 1)
        for name, addresses in self._joints.items():
            self.model.body_pos[self._body[name]] = arm[f"{name}_pos"]
            self.model.body_quat[self._body[name]] = np.roll(arm[f"{name}_quat"], 1)
            if addresses:
                self.data.qpos[addresses] = arm[f"{name}_joint_pos"]
        self._mujoco.mj_kinematics(self.model, self.data)

    def position(self, name: str) -> np.ndarray:
        """``[3]`` of an object, a fixture or a region, m."""
        if name in self._body:
            return np.array(self.data.xpos[self._body[name]])
        return np.array(self.data.site_xpos[self.regions[name].site])

    def points(self, name: str) -> np.ndarray:
        """``[P, 3]`` on the surface of an object or a fixture, m."""
        if not self._surface[name]:
            return self.position(name)[None]
        parts = [
            local @ self.data.geom_xmat[geom].reshape(3, 3).T + self.data.geom_xpos[geom]
            for geom, local in self._surface[name]
        ]
        return np.concatenate(parts)

    def others(self, *names: str) -> np.ndarray:
        """``[P, 3]`` on the surfaces of everything but ``names`` (and table and robot)."""
        parts = [self.points(thing) for thing in self.things if thing not in names]
        return np.concatenate([*parts, np.empty((0, 3))])

    def satisfied(self, predicate: list[str]) -> bool:
        """Whether ``predicate`` holds as far as positions tell; LIBERO asks for contact too."""
        kind, name, target = predicate
        place, goal = self.position(name), self.position(target)
        if target not in self.regions:
            offset = place - goal
            return bool(0.0 <= offset[2] < 0.15 and np.linalg.norm(offset[:2]) < 0.03)
        region = self.regions[target]
        turned = self.data.site_xmat[region.site].reshape(3, 3)
        if kind == "in":
            half = np.abs(turned @ region.half)
            low, high = goal - half - (0.0, 0.0, 0.01), goal + half
            return bool((place > low).all() and (place < high).all())
        offset = turned @ (place - goal)
        inside = (np.abs(offset[:2]) < region.half[:2]).all()
        return bool(inside and -0.005 < offset[2] - region.half[2] < 0.10)


def _box_surface(half: np.ndarray) -> np.ndarray:
    """Points ``[P, 3]`` on the faces of a box with half sides ``half``, about SPACING apart."""
    sides = [np.linspace(-h, h, max(2, int(np.ceil(2 * h / SPACING)) + 1)) for h in half]
    faces = []
    for axis in range(3):
        for end in (-half[axis], half[axis]):
            grid = [np.array([end]) if other == axis else sides[other] for other in range(3)]
            faces.append(np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, 3))
    return np.unique(np.concatenate(faces), axis=0)
