"""Workers that die: replaced, their episodes truncated, everyone else's untouched."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import robo
from robo.errors import RoboError
from robo.rollout import CameraSchedule
from robo.sim.gym_adapter import GymEnvironment
from robo.sim.rows import CURRENT
from robo.sim.selection import BACKENDS
from robo.sim.workers import MAX_LOSSES, WorkerVectorEnvironment

LOST = r"environments 2, 3 of gym/CartPole-v1 is lost.*exit code -9 \(SIGKILL\).*go on anew"


def kill(vector: WorkerVectorEnvironment, worker: int) -> None:
    """End a worker at once, and wait until it is gone."""
    process = vector._workers[worker].process
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=5)


@pytest.fixture
def vector():
    """Four environments in two workers."""
    environment = WorkerVectorEnvironment([partial(robo.make, "gym/CartPole-v1")] * 4, 2)
    environment.reset(seed=0)
    yield environment
    environment.close()


@pytest.fixture
def untouched():
    """The same environments, whose workers live."""
    environment = robo.make_vec("gym/CartPole-v1", 4, backend="in_process")
    environment.reset(seed=0)
    yield environment
    environment.close()


ACTIONS = np.array([0, 1, 0, 1])


def test_a_killed_worker_is_replaced_and_its_episodes_are_truncated(vector, untouched):
    shown = vector.step(ACTIONS)[0]["state"].copy()
    untouched.step(ACTIONS)
    kill(vector, 1)
    start = time.monotonic()
    with pytest.warns(UserWarning, match=LOST):
        observation, reward, terminated, truncated, info = vector.step(ACTIONS)
    assert time.monotonic() - start < 20
    assert truncated.tolist() == [False, False, True, True] and not terminated.any()
    assert reward[2:].tolist() == [0.0, 0.0]
    for row in (2, 3):
        np.testing.assert_array_equal(info["final_obs"][row]["state"], shown[row])
        assert np.abs(observation["state"][row]).max() < 0.05  # CartPole begins near 0
    assert info["_final_obs"].tolist() == [False, False, True, True]
    assert "SIGKILL" in info["final_info"]["worker_lost"][3]
    # The other worker's environments never noticed, then and later.
    np.testing.assert_array_equal(observation["state"][:2], untouched.step(ACTIONS)[0]["state"][:2])
    for _ in range(30):
        ours, theirs = vector.step(ACTIONS), untouched.step(ACTIONS)
        np.testing.assert_array_equal(ours[0]["state"][:2], theirs[0]["state"][:2])
        assert np.isfinite(ours[0]["state"]).all()
    assert vector.losses == 1


def test_the_episodes_that_follow_are_the_same_in_a_repeated_run(vector):
    starts = []
    for _ in range(2):
        vector.losses = 0
        vector.reset(seed=7)
        kill(vector, 1)
        with pytest.warns(UserWarning, match=LOST):
            starts.append(vector.step(ACTIONS)[0]["state"][2:])
    np.testing.assert_array_equal(*starts)
    assert vector.episode_info(2).seed not in (None, 9)


def test_a_loss_between_steps_is_met_by_reset_and_by_saving(vector, untouched):
    kill(vector, 0)
    with pytest.warns(UserWarning, match="SIGKILL"):
        again, _ = vector.reset(seed=3)
    np.testing.assert_array_equal(again["state"], untouched.reset(seed=3)[0]["state"])
    assert not vector.step(ACTIONS)[3].any()
    shown = vector.current_observation()["state"]
    kill(vector, 1)
    with pytest.warns(UserWarning, match=LOST):
        state = vector.state_dict()
    assert len(state["environments"]) == 4
    _, _, _, truncated, info = vector.step(ACTIONS)
    assert truncated.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(info["final_obs"][2]["state"], shown[2])
    assert not vector.step(ACTIONS)[3].any()


def test_a_loss_between_steps_is_met_by_restoring(vector, untouched):
    vector.step(ACTIONS)
    untouched.step(ACTIONS)
    state = vector.state_dict()
    kill(vector, 1)
    with pytest.warns(UserWarning, match="SIGKILL"):
        vector.load_state_dict(state)
    for _ in range(5):
        ours, theirs = vector.step(ACTIONS), untouched.step(ACTIONS)
        np.testing.assert_array_equal(ours[0]["state"], theirs[0]["state"])
        assert not ours[3].any()


def test_a_worker_that_is_always_lost_ends_the_run(vector):
    with pytest.warns(UserWarning, match=LOST):
        for _ in range(MAX_LOSSES):
            kill(vector, 1)
            vector.step(ACTIONS)
        kill(vector, 1)
        with pytest.raises(RoboError, match=r"SIGKILL.*in a row; make the environments again"):
            vector.step(ACTIONS)
    with pytest.raises(RoboError, match="closed"):
        vector.reset()


def test_frames_of_a_lost_episode_are_its_last_ones():
    pytest.importorskip("mujoco")
    vector = WorkerVectorEnvironment([partial(robo.make, "mujoco/Reach")] * 2, 2)
    try:
        vector.set_camera_schedule(CameraSchedule(("front",), height=32, width=32, stride=1))
        vector.reset(seed=0)
        action = np.full(vector.action_space.shape, 0.5, np.float32)
        last = vector.step(action)[4]["frames"].views["front"][1]
        kill(vector, 1)
        vector._frame_memory.arrays["front"][CURRENT, 1, :16] = 0  # it died as it wrote the next
        with pytest.warns(UserWarning, match="SIGKILL"):
            frames = vector.step(action)[4]["frames"]
        mine = frames.env == 1
        assert sorted(frames.final[mine].tolist()) == [False, True]
        (final,) = frames.views["front"][mine & frames.final]
        (first,) = frames.views["front"][mine & ~frames.final]
        np.testing.assert_array_equal(final, last)
        assert first.std() > 5 and (first != last).any()
    finally:
        vector.close()


def test_a_loss_between_steps_is_met_by_another_camera_schedule():
    pytest.importorskip("mujoco")
    factories = [partial(robo.make, "mujoco/Reach")] * 2
    vector, untouched = WorkerVectorEnvironment(factories, 2), BACKENDS["in_process"](factories)
    try:
        for each in (vector, untouched):
            each.set_camera_schedule(CameraSchedule(("front",), height=32, width=32, stride=1))
            each.reset(seed=0)
            each.set_camera_schedule(CameraSchedule(("front",), height=24, width=40, stride=1))
        kill(vector, 1)
        with pytest.warns(UserWarning, match="SIGKILL"):
            frames = vector.reset(seed=4)[1]["frames"].views["front"]
        np.testing.assert_array_equal(frames, untouched.reset(seed=4)[1]["frames"].views["front"])
        kill(vector, 0)
        with pytest.warns(UserWarning, match="SIGKILL"):
            vector.set_camera_schedule(None)
        action = np.zeros(vector.action_space.shape, np.float32)
        _, _, _, truncated, info = vector.step(action)
        assert truncated.tolist() == [True, False] and "frames" not in info
    finally:
        vector.close()
        untouched.close()


class Fickle(GymEnvironment):
    """Cannot begin while a file says so, as a server that is slow to start."""

    def __init__(self, folder: str) -> None:
        """One file in ``folder`` per failure."""
        super().__init__("CartPole-v1")
        self.folder = Path(folder)

    def reset(self, **options):
        """Fail, and use up one failure."""
        left = sorted(self.folder.iterdir())
        if left:
            left[0].unlink()
            raise RoboError("the server did not open its port")
        return super().reset(**options)


@pytest.mark.parametrize("failures", [MAX_LOSSES - 1, MAX_LOSSES])
def test_a_replacement_that_cannot_begin_at_once_is_tried_again(tmp_path, failures):
    vector = WorkerVectorEnvironment([partial(Fickle, str(tmp_path))] * 2, 2)
    try:
        vector.reset(seed=0)
        for number in range(failures):
            (tmp_path / str(number)).touch()
        kill(vector, 1)
        with pytest.warns(UserWarning, match="go on anew"):
            if failures == MAX_LOSSES:
                with pytest.raises(RoboError, match="did not open its port"):
                    vector.step(ACTIONS[:2])
            else:
                assert vector.step(ACTIONS[:2])[3].tolist() == [False, True]
                vector.step(ACTIONS[:2])
    finally:
        vector.close()
