"""robosuite's known wrong successes, as they are and mended by ``success="strict"``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robo.sim.robosuite.success import robosuite_success, strict_success


@pytest.fixture
def raw_of(robosuite: Any) -> Any:
    from robo.sim.robosuite.provider import make

    made: list[Any] = []

    def open_raw(name: str) -> Any:
        environment = make(f"robosuite/{name}")
        environment.reset(seed=0)
        made.append(environment)
        return environment.raw

    yield open_raw
    for environment in made:
        environment.close()


def put(raw: Any, thing: Any, position: Any, quaternion: Any = (1, 0, 0, 0)) -> None:
    raw.sim.data.set_joint_qpos(thing.joints[0], np.array([*position, *quaternion], dtype=float))
    raw.sim.forward()


def position(raw: Any, body: int) -> np.ndarray:
    return np.array(raw.sim.data.body_xpos[body])


def fingers(raw: Any) -> np.ndarray:
    own = raw.robots[0].eef_site_id
    site = own["right"] if isinstance(own, dict) else own
    return np.array(raw.sim.data.site_xpos[site])


def test_a_thrown_cube_is_not_lifted(raw_of: Any) -> None:
    raw = raw_of("Lift")
    put(raw, raw.cube, (0.0, 0.0, 1.1))
    assert robosuite_success(raw) and not strict_success("Lift")(raw)
    put(raw, raw.cube, fingers(raw))  # between the fingers: they touch it
    assert robosuite_success(raw) and strict_success("Lift")(raw)


def test_a_cube_on_its_corner_is_not_lifted_by_either_rule(raw_of: Any) -> None:
    raw = raw_of("Lift")
    put(raw, raw.cube, (0.0, 0.0, 0.8 + 0.038), (0.88, 0.33, 0.33, 0.0))
    assert not robosuite_success(raw)


def test_a_cube_that_leans_on_the_other_is_not_stacked(raw_of: Any) -> None:
    raw = raw_of("Stack")
    below = position(raw, raw.cubeB_body_id)
    put(raw, raw.cubeB, below)
    side = float(raw.cubeB.size[0] + raw.cubeA.size[0])
    beside = below + np.array([side - 0.001, 0.0, 0.02])
    put(raw, raw.cubeA, beside)  # in the air, against its side
    assert robosuite_success(raw) and not strict_success("Stack")(raw)
    top = float(raw.cubeB.size[2] + raw.cubeA.size[2])
    put(raw, raw.cubeA, below + np.array([0.005, 0.0, top - 0.0005]))
    assert robosuite_success(raw) and strict_success("Stack")(raw)


def test_a_cereal_box_in_the_hand_is_not_placed(raw_of: Any) -> None:
    raw = raw_of("PickPlaceCereal")
    cereal = raw.objects[raw.object_id]
    target = np.array(raw.target_bin_placements[raw.object_id])
    # The bin under the hand stands for the hand over the bin: only relative places count.
    held = fingers(raw) - np.array([0.0, 0.0, 0.044])
    put(raw, cereal, held)
    raw.bin2_pos = np.array(raw.bin2_pos, dtype=float) + (held - target)
    raw.bin2_pos[2] = held[2] - 0.07
    assert robosuite_success(raw) and not strict_success("PickPlace")(raw)
    put(raw, cereal, held - np.array([0.0, 0.0, 0.1]))  # let go: out of the fingers
    raw.bin2_pos[2] = held[2] - 0.17
    assert robosuite_success(raw) and strict_success("PickPlace")(raw)


def test_a_nut_in_the_hand_is_not_assembled(raw_of: Any) -> None:
    raw = raw_of("NutAssemblyRound")
    nut = raw.nuts[raw.nut_id]
    away = np.array([0.05, 0.0, 0.0])
    put(raw, nut, fingers(raw) - away)
    held = position(raw, raw.obj_body_id[nut.name])
    raw.sim.data.body_xpos[raw.peg2_body_id] = held  # the peg under the hand, half way down it
    raw.table_offset = np.array([0.0, 0.0, held[2]])
    own = raw.robots[0].gripper
    touches = raw.check_contact(own["right"] if isinstance(own, dict) else own, nut)
    assert robosuite_success(raw)
    assert strict_success("NutAssembly")(raw) is not touches
    assert touches


def test_other_rules_are_robosuites(raw_of: Any) -> None:
    assert strict_success("Door") is robosuite_success
    assert strict_success("Wipe") is robosuite_success
