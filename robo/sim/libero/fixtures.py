"""Fixtures in the state vector: where they stand, and how far their joints are.

LIBERO observes its movable objects only. Its cabinets, stoves and microwaves stand up to 2 cm
elsewhere in each initial state, and a drawer's position decides some goals.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def observe_fixtures(raw: Any) -> None:
    """Add observables of the group ``object-state`` to ``raw``, an environment of LIBERO.

    Per fixture: ``<name>_pos`` (m), ``<name>_quat`` (xyzw) and, where it has joints,
    ``<name>_joint_pos`` (m or rad).
    """
    for name, fixture in raw.fixtures_dict.items():
        _observe_pose(raw, name)
        if fixture.joints:
            _observe_joints(raw, name, list(fixture.joints))


def _add(raw: Any, name: str, read: Any) -> None:
    from robosuite.utils.observables import (  # type: ignore[import-not-found]
        Observable,
        sensor,
    )

    observable = Observable(name, sensor("object")(read), sampling_rate=raw.control_freq)
    raw.add_observable(observable)


def _observe_pose(raw: Any, name: str) -> None:
    body = raw.obj_body_id[name]

    def position(cache: Any) -> np.ndarray:
        return np.array(raw.sim.data.body_xpos[body])

    def quaternion(cache: Any) -> np.ndarray:
        return np.roll(raw.sim.data.body_xquat[body], -1)  # MuJoCo has w first

    _add(raw, f"{name}_pos", position)
    _add(raw, f"{name}_quat", quaternion)


def _observe_joints(raw: Any, name: str, joints: list[str]) -> None:
    model = raw.sim.model
    addresses = [int(model.jnt_qposadr[model.joint_name2id(joint)]) for joint in joints]

    def values(cache: Any) -> np.ndarray:
        return np.array(raw.sim.data.qpos[addresses])

    _add(raw, f"{name}_joint_pos", values)
