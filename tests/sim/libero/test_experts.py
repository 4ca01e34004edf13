"""LIBERO's scripted expert: grasps of simple shapes, and whole tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from robo.errors import RoboError
from robo.policies.recorder import record_episodes
from robo.sim.experts import make_expert
from robo.sim.libero.experts.grasps import plan
from robo.sim.registry import make_vec

NOTHING = np.empty((0, 3))
BASE = np.array([-0.6, 0.0])


def box(half: tuple[float, float, float], centre: tuple[float, float], yaw: float = 0.0) -> Any:
    """Points on the surface of a box on a table at height 0."""
    sides = [np.linspace(-h, h, 2 + int(h / 0.0025)) for h in half]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    faces = grid[(np.abs(np.abs(grid) - half) < 1e-9).any(axis=1)]
    turned = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    flat = faces[:, :2] @ turned.T + centre
    return np.column_stack([flat, faces[:, 2] + half[2]])


def ring(radius: float, height: float) -> np.ndarray:
    """Points on a thin upright wall, as a bowl's."""
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    heights = np.linspace(0, height, 15)
    around = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    return np.concatenate(
        [np.column_stack([around * s, np.full(200, z)]) for z in heights for s in (1.0, 0.96)]
    )


@settings(max_examples=15)
@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
@example(yaw=-0.18, hand=1.36)  # its corner is nearer to the fingers
def test_a_box_is_taken_across_its_narrow_side_from_any_pose(yaw: float, hand: float) -> None:
    across_its_narrow_side(yaw, hand)


@pytest.mark.parametrize("yaw", [-1.0, -0.25, 0.0, 0.5, 1.25])
def test_a_box_is_taken_across_its_narrow_side(yaw: float) -> None:
    across_its_narrow_side(yaw, hand=0.25)


def across_its_narrow_side(yaw: float, hand: float) -> None:
    """Assert it for a box at ``yaw`` and fingers that open along ``hand``, rad."""
    best = plan(box((0.02, 0.05, 0.04), (0.05, 0.1), yaw), NOTHING, hand, BASE)[0]
    narrow = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    assert abs(best.pose.fingers @ narrow) > 0.8
    assert np.linalg.norm(best.pose.position[:2] - (0.05, 0.1)) < 0.02
    assert 0.03 < best.width < 0.066


def test_a_post_is_taken_by_its_faces_though_its_edges_are_nearer() -> None:
    best = plan(box((0.02, 0.02, 0.04), (0.05, 0.1)), NOTHING, np.pi / 4, BASE)[0]
    assert np.abs(best.pose.fingers).max() > 0.9
    assert best.width < 0.045


def test_corners_are_the_last_resort() -> None:
    """All that its neighbours leave of a cube is two opposite edges."""
    cube = box((0.02, 0.02, 0.04), (0.0, 0.0))
    walls = [(x, y) for x, y in ((0.07, 0.0), (-0.07, 0.0), (0.0, 0.07), (0.0, -0.07))]
    found = plan(cube, np.concatenate([box((0.01, 0.01, 0.04), at) for at in walls]), 0.0, BASE)
    assert found and abs(abs(found[0].pose.fingers[0]) - np.sqrt(0.5)) < 0.25


def test_a_bowl_is_taken_by_its_rim_across_the_wall() -> None:
    for grasp in plan(ring(0.06, 0.05), NOTHING, 0.3, BASE)[:5]:
        outward = grasp.pose.position[:2] / np.linalg.norm(grasp.pose.position[:2])
        assert abs(np.linalg.norm(grasp.pose.position[:2]) - 0.06) < 0.01
        assert abs(grasp.pose.fingers[:2] @ outward) > 0.9
        assert grasp.width < 0.02 and grasp.pose.position[2] > 0.03


def test_neighbours_are_kept_clear_of() -> None:
    thing = box((0.02, 0.02, 0.04), (0.0, 0.0))
    free = plan(thing, NOTHING, np.pi / 2, BASE)[0]
    assert abs(free.pose.fingers[1]) > 0.99
    walls = np.concatenate([box((0.03, 0.02, 0.04), (0.0, y)) for y in (-0.07, 0.07)])
    beside = plan(thing, walls, np.pi / 2, BASE)[0]
    assert abs(beside.pose.fingers[0]) > 0.8


def test_what_is_too_wide_is_not_taken() -> None:
    wall = ring(0.06, 0.05)
    lid = np.concatenate([wall[:400] * (s, s, 0) + (0, 0, 0.05) for s in np.arange(0, 1, 0.05)])
    assert plan(wall, NOTHING, 0.0, BASE)
    assert plan(np.concatenate([wall, lid]), NOTHING, 0.0, BASE) == []


@pytest.mark.slow
def test_the_expert_solves_a_task_from_two_initial_states(libero: Any) -> None:
    task = "libero/libero_object/0"
    expert = make_expert(task)
    env = make_vec(task, 1, backend="in_process")
    episodes = record_episodes(env, expert, [0, 13])
    env.close()
    assert [episode.info.initial_state for episode in episodes] == [0, 13]
    for episode in episodes:
        assert episode.success and episode.terminated
        assert list(episode.keyframes)[:2] == ["grasp alphabet_soup_1", "lift alphabet_soup_1"]


def test_goals_that_ask_for_more_are_refused(libero: Any) -> None:
    with pytest.raises(RoboError, match=r"its goal asks for \['open'\]"):
        make_expert("libero/libero_goal/0")
    with pytest.raises(RoboError, match="script 'drop' does not exist"):
        make_expert("libero/libero_object/0", script="drop")
