"""Scripted experts of robosuite's tasks: they solve them, and their parts keep their word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robo.errors import RoboError
from robo.policies.recorder import record_episodes
from robo.sim.experts import make_expert
from robo.sim.mujoco.expert import ExpertStyle
from robo.sim.registry import make_vec
from robo.sim.robosuite.experts.actor import ScriptedManipulator
from robo.sim.robosuite.experts.arm import Arm, Pose, nearest_yaw, yaw_pose

LAYOUT = {
    "robot0_eef_pos": slice(0, 3),
    "robot0_eef_quat": slice(3, 7),
    "robot0_gripper_qpos": slice(7, 9),
}
SENSES = np.array([0.1, 0.2, 0.9, 1.0, 0.0, 0.0, 0.0, 0.02, -0.02])
KEYFRAMES = {
    "Lift": ["grasp", "lift"],
    "Stack": ["grasp", "lift", "release"],
    "PickPlaceCan": ["grasp", "lift", "release"],
    "Door": ["grasp", "turn", "pull"],
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "Lift" else pytest.mark.slow) for n in KEYFRAMES],
)
def test_an_expert_solves_its_task(robosuite: Any, name: str) -> None:
    task = f"robosuite/{name}"
    expert = make_expert(task)
    env = make_vec(task, 1, backend="in_process")
    episodes = record_episodes(env, expert, [1000, 1001])
    env.close()
    for episode in episodes:
        assert episode.success and episode.terminated and len(episode) < 250
        assert list(episode.keyframes) == KEYFRAMES[name]
        assert np.abs(episode.action).max() <= 1
        assert episode.metadata["kind"] == "demonstration"


@pytest.mark.slow
def test_a_noisy_expert_solves_lift_and_repeats_itself(robosuite: Any) -> None:
    env = make_vec("robosuite/Lift", 1, backend="in_process")
    runs = [
        record_episodes(env, make_expert("robosuite/Lift", ExpertStyle(), seed=seed), [7])[0]
        for seed in (0, 0, 1)
    ]
    env.close()
    assert all(episode.success for episode in runs)
    assert np.array_equal(runs[0].action, runs[1].action)
    assert len(runs[0]) != len(runs[2]) or not np.array_equal(runs[0].action, runs[2].action)


def test_what_has_no_expert_is_said(robosuite: Any) -> None:
    with pytest.raises(RoboError, match="'robosuite/Wipe' has no scripted expert; these have"):
        make_expert("robosuite/Wipe")
    with pytest.raises(RoboError, match="script 'drop' does not exist"):
        make_expert("robosuite/Lift", script="drop")
    with pytest.raises(RoboError, match="has no scripted expert; some tasks of"):
        make_expert("gym/Pendulum-v1")


def test_a_script_that_ends_is_begun_anew_and_its_keyframes_are_void() -> None:
    begun = []

    def script(arm: Arm) -> Any:
        begun.append(arm.steps)
        arm.mark(f"attempt {len(begun)}")
        yield from arm.hold(3, 1.0)

    actor = ScriptedManipulator(script, LAYOUT)
    started = np.array([True, True])
    for step in range(7):
        actions = actor({"state": np.stack([SENSES, SENSES])}, started & (step == 0))
        assert actions.shape == (2, 7) and actions.dtype == np.float32
    assert sorted(begun) == [0, 0, 3, 3, 6, 6]
    assert list(actor.keyframes(0).values()) == [6]
    actor({"state": np.stack([SENSES, SENSES])}, np.array([True, False]))
    assert list(actor.keyframes(0).values()) == [0]
    assert list(actor.keyframes(1).values()) == [6]


@given(st.floats(-9, 9), st.floats(-9, 9), st.sampled_from([np.pi / 2, np.pi, 2 * np.pi]))
def test_the_nearest_equal_angle(yaw: float, near: float, symmetry: float) -> None:
    found = nearest_yaw(yaw, near, symmetry)
    assert abs(found - near) <= symmetry / 2 + 1e-9
    turns = (found - yaw) / symmetry
    assert abs(turns - round(turns)) < 1e-6


@given(st.floats(-3.1, 3.1), st.floats(-0.5, 0.5))
def test_following_the_errors_leads_to_the_pose(yaw: float, slant: float) -> None:
    """Turning by the rotation error puts fingers and approach where they should be."""
    arm = Arm(LAYOUT)
    arm.sense(SENSES)
    down = yaw_pose(np.array([0.2, 0.1, 0.9]), yaw)
    pose = Pose(down.position, down.fingers, np.array([slant, 0.0, -1.0]))
    distance, turn = arm.errors(pose)
    assert np.allclose(arm.position + distance, pose.position)
    assert np.linalg.norm(turn) < np.pi + 1e-6
    after = (Rotation.from_rotvec(turn) * arm.rotation).as_matrix()
    assert np.allclose(after[:, 2], pose.approach / np.linalg.norm(pose.approach), atol=1e-6)
    assert abs(after[:, 1] @ pose.approach) < 1e-6
    assert abs(after[:, 1] @ pose.fingers) > 0.8
    action = arm.toward(pose, 1.0)
    assert np.linalg.norm(action[:3]) <= 1 + 1e-9 and action[6] == 1.0
