"""A LIBERO goal: a conjunction of predicates, each with how far it is from being satisfied."""

from __future__ import annotations

from typing import Any

import numpy as np

_RANGES = {
    "open": "default_open_ranges",
    "close": "default_close_ranges",
    "turnon": "default_turnon_ranges",
    "turnoff": "default_turnoff_ranges",
}
"""Predicates on joints, and the property that holds the joint values which satisfy them."""
_ANY_JOINT = ("open", "turnon")


class Goal:
    """The goal of one environment of LIBERO.

    Signals, per predicate such as ``in_milk_1_basket_1_contain_region``:

    * ``goal_<predicate>``: 1 where LIBERO holds it satisfied, else 0;
    * ``distance_<predicate>``: for ``on`` and ``in`` from the object's origin to that of its
      target (m; not 0 where satisfied), for joints what they lack of the wanted range (m or rad);

    and ``goal_fraction``, the share of satisfied predicates, and ``gripper_distance``, m from the
    gripper to what the first unsatisfied predicate moves (the last one once all are).

    Attributes:
        predicates: LIBERO's, ``["in", "milk_1", "basket_1_contain_region"]``.
        signal_names: of :meth:`signals`.
    """

    def __init__(self, raw: Any) -> None:
        """Read the goal of ``raw``, an environment of LIBERO."""
        self.raw = raw
        self.predicates: list[list[str]] = [list(p) for p in raw.parsed_problem["goal_state"]]
        labels = ["_".join(predicate) for predicate in self.predicates]
        self._satisfied_names = [f"goal_{label}" for label in labels]
        self._distance_names = [f"distance_{label}" for label in labels]
        self.signal_names = (
            "goal_fraction",
            "gripper_distance",
            *self._satisfied_names,
            *self._distance_names,
        )
        self._joints = [self._joints_of(predicate) for predicate in self.predicates]

    def satisfied(self) -> list[bool]:
        """Which predicates LIBERO holds satisfied now; all of them are success."""
        return [bool(self.raw._eval_predicate(predicate)) for predicate in self.predicates]

    def signals(self, satisfied: list[bool]) -> dict[str, float]:
        """All signals of the present state, see the class.

        Args:
            satisfied: of :meth:`satisfied`, for the same state.
        """
        distances = [self._distance(index) for index in range(len(self.predicates))]
        first = satisfied.index(False) if False in satisfied else len(satisfied) - 1
        sim = self.raw.sim
        gripper = np.asarray(sim.data.site_xpos[self.raw.robots[0].eef_site_id])
        return {
            "goal_fraction": sum(satisfied) / len(satisfied),
            "gripper_distance": float(np.linalg.norm(gripper - self._moved(first))),
            **dict(zip(self._satisfied_names, map(float, satisfied), strict=True)),
            **dict(zip(self._distance_names, distances, strict=True)),
        }

    def _joints_of(self, predicate: list[str]) -> tuple[list[int], tuple[float, float]] | None:
        """Joint ids and the range that satisfies ``predicate``; None where it is on no joint."""
        key = _RANGES.get(predicate[0])
        if key is None:
            return None
        raw, name = self.raw, predicate[1]
        site = raw.object_sites_dict.get(name)
        owner = raw.get_object(name if site is None else site.parent_name)
        names = (owner if site is None else site).joints
        wanted = owner.object_properties["articulation"][key]
        joints = [raw.sim.model.joint_name2id(joint) for joint in names]
        return joints, (min(wanted), max(wanted))

    def _distance(self, index: int) -> float:
        joints = self._joints[index]
        if joints is None:
            _, thing, target = self.predicates[index]
            return float(np.linalg.norm(self._position(thing) - self._position(target)))
        sim, (low, high) = self.raw.sim, joints[1]
        values = [float(sim.data.qpos[sim.model.jnt_qposadr[joint]]) for joint in joints[0]]
        lacking = [max(0.0, low - value, value - high) for value in values]
        return min(lacking) if self.predicates[index][0] in _ANY_JOINT else max(lacking)

    def _moved(self, index: int) -> np.ndarray:
        """Where the thing is that has to be moved: an object, or the part on a joint."""
        joints = self._joints[index]
        if joints is None:
            return self._position(self.predicates[index][1])
        sim = self.raw.sim
        return np.asarray(sim.data.xipos[sim.model.jnt_bodyid[joints[0][0]]])

    def _position(self, name: str) -> np.ndarray:
        """Of an object, a fixture or a region, m."""
        raw = self.raw
        if name in raw.obj_body_id:
            return np.asarray(raw.sim.data.body_xpos[raw.obj_body_id[name]])
        return np.asarray(raw.sim.data.get_site_xpos(name))
