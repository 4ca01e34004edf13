"""The contract on all three tasks, single and vector, and refusals of bad input."""

from __future__ import annotations

import numpy as np
import pytest

import robo
from robo.errors import RoboError, UnknownTaskError
from robo.sim.contract_check import check_contract
from robo.sim.mujoco.expert import make_expert
from robo.sim.mujoco.single import MujocoEnvironment
from robo.sim.mujoco.tasks import TASKS
from robo.sim.mujoco.vector import MujocoVectorEnvironment


@pytest.mark.parametrize("name", TASKS)
def test_single_environments_keep_the_contract(name):
    """Gymnasium's own check included; long enough for an episode to end."""
    env = robo.make(f"mujoco/{name}")
    check_contract(env, steps=100)
    env.close()


@pytest.mark.parametrize("name", TASKS)
def test_vector_environments_keep_the_contract(name):
    env = robo.make_vec(f"mujoco/{name}", 4)
    assert env.backend == "native"
    check_contract(env, steps=100)
    env.close()


@pytest.mark.parametrize("name", TASKS)
def test_final_observation_is_the_single_environments_last(name):
    """Same seed and actions: every step, an ending by success and one by time included."""
    vector, single = MujocoVectorEnvironment(name, 2), MujocoEnvironment(name)
    actor = make_expert(f"mujoco/{name}")
    observation, _ = vector.reset(seed=20)
    alone, info = single.reset(seed=21)
    assert info["instruction"] == vector.instruction
    started = np.ones(2, bool)
    endings = set()
    for episode in range(2):
        while True:
            action = actor(observation, started)
            if episode:  # the second one idles until its time is up
                action[1] = (0, 0, 1, 1)
            observation, reward, terminated, truncated, infos = vector.step(action)
            started = terminated | truncated
            alone, alone_reward, *over, info = single.step(action[1])
            assert over == [terminated[1], truncated[1]]
            assert alone_reward == reward[1] and info["success"] == infos["success"][1]
            assert info["signals"] == {k: float(v[1]) for k, v in infos["signals"].items()}
            if started[1]:
                break
            np.testing.assert_array_equal(alone["state"], observation["state"][1])
        np.testing.assert_array_equal(alone["state"], infos["final_obs"][1]["state"])
        assert infos["final_info"]["success"][1] == terminated[1]
        endings.add("success" if terminated[1] else "time")
        alone, _ = single.reset(seed=vector.episode_info(1).seed)
        np.testing.assert_array_equal(alone["state"], observation["state"][1])
        assert single.episode_info() == vector.episode_info(1)
    assert endings == {"success", "time"}


def test_single_state_round_trip():
    one, two = MujocoEnvironment("Push"), MujocoEnvironment("Push")
    one.reset(seed=1)
    two.reset(seed=2)
    action = np.array([0.3, -0.2, -1, 0], np.float32)
    for _ in range(6):
        one.step(action)
    two.load_state_dict(one.state_dict())
    for _ in range(6):
        left, right = one.step(action), two.step(action)
        np.testing.assert_array_equal(left[0]["state"], right[0]["state"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_actions_that_are_no_numbers_are_refused_before_anything_moves(value):
    env = MujocoVectorEnvironment("Lift", 3)
    before = env.reset(seed=0)[0]["state"]
    actions = np.zeros((3, 4), np.float32)
    actions[1, 2] = value
    with pytest.raises(RoboError, match="environment 1"):
        env.step(actions)
    np.testing.assert_array_equal(env.current_observation()["state"], before)


def test_wrong_shapes_and_wrong_order_are_refused():
    env, single = MujocoVectorEnvironment("Lift", 3), MujocoEnvironment("Lift")
    with pytest.raises(RoboError, match="reset"):
        env.step(np.zeros((3, 4), np.float32))
    with pytest.raises(RoboError, match=r"reset\(\) before step"):
        single.step(np.zeros(4, np.float32))
    env.reset(seed=0)
    single.reset(seed=0)
    with pytest.raises(RoboError, match=r"shape \(2, 4\), expected \(3, 4\)"):
        env.step(np.zeros((2, 4), np.float32))
    with pytest.raises(RoboError, match=r"shape \(3,\), expected \(4,\)"):
        single.step(np.zeros(3, np.float32))


def test_actions_beyond_the_box_are_clipped():
    one, two = MujocoVectorEnvironment("Lift", 1), MujocoVectorEnvironment("Lift", 1)
    one.reset(seed=0)
    two.reset(seed=0)
    actions = np.array([[3.0, -0.5, -2.0, 9.0]], np.float32)
    left, right = one.step(actions), two.step(np.clip(actions, -1, 1))
    np.testing.assert_array_equal(left[0]["state"], right[0]["state"])


def test_ids():
    assert {"mujoco/Reach", "mujoco/Push", "mujoco/Lift"} <= set(robo.tasks())
    with pytest.raises(UnknownTaskError):
        robo.make("mujoco/Juggle")


@pytest.mark.parametrize("make", [robo.make, lambda id, **o: robo.make_vec(id, 2, **o)])
def test_unknown_options_are_one_sentence(make):
    with pytest.raises(RoboError, match="no option colour, shade; expected some of"):
        make("mujoco/Lift", colour="red", shade=1, threads=1)
