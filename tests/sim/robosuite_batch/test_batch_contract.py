"""The contract, determinism, exact state and frames of ``robosuite-batch/Lift``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import robo
from robo.errors import RoboError
from robo.rollout import CameraSchedule
from robo.sim.contract_check import check_contract


def actions_of(steps: int, num_envs: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    drift = draw.normal(size=(num_envs, 7)) * 0.3
    noise = draw.normal(size=(steps, num_envs, 7)) * 0.7
    return np.clip(drift + noise, -1, 1).astype(np.float32)


def play(environment: Any, actions: np.ndarray) -> np.ndarray:
    return np.stack([environment.step(action)[0]["state"] for action in actions])


def test_vector_keeps_the_contract(make_vec: Any) -> None:
    environment = make_vec(3, horizon=25)
    assert environment.backend == "native"
    check_contract(environment, steps=60)


def test_the_hand_keeps_pointing_down_without_rotation(make_vec: Any) -> None:
    environment = make_vec(2, horizon=40, controller="OSC_POSITION")
    assert environment.single_action_space.shape == (4,)
    check_contract(environment, steps=60)
    environment.reset(seed=0)
    draw = np.random.default_rng(1)
    for _ in range(30):
        action = draw.uniform(-1, 1, size=(2, 4)).astype(np.float32)
        state = environment.step(action)[0]["state"]
        assert np.abs(state[:, 24]).min() > 0.97  # of its quaternion: a half turn about x


def test_unknown_controllers_are_refused(make_vec: Any) -> None:
    with pytest.raises(RoboError, match=r"JOINT_POSITION.*OSC_POSE.*OSC_POSITION"):
        make_vec(2, controller="JOINT_POSITION")
    with pytest.raises(RoboError, match=r"\(4,\)|\(2, 4\)"):
        environment = make_vec(2, controller="OSC_POSITION")
        environment.reset(seed=0)
        environment.step(np.zeros((2, 7), np.float32))


def test_single_keeps_the_contract(scene: Any) -> None:
    environment = robo.make("robosuite-batch/Lift", horizon=25, render_mode="rgb_array")
    check_contract(environment, steps=40)
    environment.reset(seed=0)
    assert np.ptp(environment.render()) > 100  # type: ignore[call-overload]
    environment.close()


def test_threads_and_neighbours_do_not_change_an_episode(make_vec: Any) -> None:
    actions = actions_of(45, 5)
    one, three, alone = (make_vec(n, threads=t, horizon=30) for n, t in ((5, 1), (5, 3), (1, 1)))
    for environment in (one, three):
        environment.reset(seed=[10, 11, 12, 13, 14])
    alone.reset(seed=[12])
    states = play(one, actions)  # past the time limit: autoresets too
    np.testing.assert_array_equal(play(three, actions), states)
    np.testing.assert_array_equal(play(alone, actions[:, 2:3]), states[:, 2:3])
    seed = alone.episode_info(0).seed
    assert seed == one.episode_info(2).seed != 12
    np.testing.assert_array_equal(alone.reset(seed=seed)[0]["state"][0], states[29, 2])


def test_saved_states_go_on_bit_for_bit(make_vec: Any) -> None:
    actions = actions_of(70, 3)
    one, two = make_vec(3, threads=1, horizon=40), make_vec(3, threads=2, horizon=40)
    one.reset(seed=1)
    fresh = one.state_dict()
    first = play(one, actions[:33])
    saved = one.state_dict()
    rest = play(one, actions[33:])
    two.load_state_dict(saved)
    np.testing.assert_array_equal(two.current_observation()["state"], first[-1])
    np.testing.assert_array_equal(play(two, actions[33:]), rest)
    two.load_state_dict(fresh)
    np.testing.assert_array_equal(play(two, actions[:33]), first)
    with pytest.raises(RoboError, match="number of environments"):
        make_vec(2).load_state_dict(saved)


@pytest.mark.slow
def test_frames_are_robosuites_own(make_vec: Any, lift: Any) -> None:
    """Pixel for pixel, hence upright, at the due steps and no others."""
    schedule = CameraSchedule(("front", "side", "wrist"), 64, 64, stride=4)
    environment, actions = make_vec(2, threads=1), actions_of(8, 2)
    for each in (environment, lift):
        each.set_camera_schedule(schedule)
    _, infos = environment.reset(seed=[5, 6])
    _, info = lift.reset(seed=6)
    for step in range(9):
        assert ("frames" in infos) == (step % 4 == 0)
        if "frames" in infos:
            assert infos["frames"].env.tolist() == [0, 1]
            for view in schedule.views:
                image = infos["frames"].views[view][1]
                assert np.ptp(image) > 50
                np.testing.assert_array_equal(image, info["frames"][view])
        if step < 8:
            infos = environment.step(actions[step])[-1]
            info = lift.step(actions[step, 1])[-1]
    lift.set_camera_schedule(None)


def test_options(make_vec: Any) -> None:
    long, plain = make_vec(1), make_vec(1, extras=False)
    state = long.reset(seed=3)[0]["state"]
    assert state.shape == (1, 47)
    np.testing.assert_array_equal(plain.reset(seed=3)[0]["state"], state[:, :42])
    with pytest.raises(RoboError, match="no option colour; expected some of"):
        make_vec(1, colour="red")
    with pytest.raises(RoboError, match="horizon=0"):
        make_vec(1, horizon=0)
    with pytest.raises(RoboError, match="profile"):
        make_vec(1, profile="slow")
    with pytest.raises(RoboError, match="reset"):
        make_vec(1).step(np.zeros((1, 7), np.float32))
    with pytest.raises(RoboError, match=r"expected \(1, 7\)"):
        long.step(np.zeros((1, 4), np.float32))
