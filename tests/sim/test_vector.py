"""Vector backends: equal to each other, exact at episode ends, safe when a worker dies."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import robo
from robo.errors import RoboError
from robo.rollout import CameraSchedule
from robo.sim.contract import StateNotSupportedError
from robo.sim.registry import GENERIC_BACKENDS
from robo.sim.selection import choose, steps_per_second

needs_mujoco_gym = pytest.mark.skipif(
    importlib.util.find_spec("imageio") is None, reason="gymnasium's MuJoCo needs imageio"
)


def is_running(process_id):
    """Whether a process runs; a zombie that nobody has waited for does not."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def actions_for(environment, steps, seed=3):
    environment.action_space.seed(seed)
    return [environment.action_space.sample() for _ in range(steps)]


def rollout(environment, actions, seed=11):
    """Everything that ``reset`` and ``step`` return, flattened into comparable arrays."""
    observation, infos = environment.reset(seed=seed)
    log = [observation["state"]]
    for action in actions:
        observation, reward, terminated, truncated, infos = environment.step(action)
        log += [observation["state"], reward, terminated, truncated, infos["success"]]
        if "final_obs" in infos:
            log.append(infos["_final_obs"])
            log += [row["state"] for row in infos["final_obs"] if row is not None]
        if "frames" in infos:
            frames = infos["frames"]
            log += [frames.env, frames.final, *frames.views.values()]
    return log


def assert_same(one, two):
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right, strict=True)


@pytest.fixture(scope="module")
def cartpole_workers():
    environment = robo.make_vec("gym/CartPole-v1", 3, backend="workers")
    yield environment
    environment.close()


def test_backends_agree_bit_for_bit(cartpole_workers):
    reference = robo.make_vec("gym/CartPole-v1", 3, backend="in_process")
    threads = robo.make_vec("gym/CartPole-v1", 3, backend="threads")
    actions = actions_for(reference, 80)
    expected = rollout(reference, actions)
    assert_same(expected, rollout(threads, actions))
    assert_same(expected, rollout(cartpole_workers, actions))
    assert [reference.backend, threads.backend, cartpole_workers.backend] == list(GENERIC_BACKENDS)


def test_native_backend_agrees_with_the_loop():
    native = robo.make_vec("mujoco/Reach", 2)
    loop = robo.make_vec("mujoco/Reach", 2, backend="in_process")
    assert native.backend == "native"
    actions = actions_for(loop, 40)
    assert_same(rollout(loop, actions), rollout(native, actions))


@needs_mujoco_gym
def test_mujoco_steps_equal_in_threads():
    reference = robo.make_vec("gym/HalfCheetah-v5", 3, backend="in_process", max_episode_steps=20)
    threads = robo.make_vec("gym/HalfCheetah-v5", 3, backend="threads", max_episode_steps=20)
    actions = actions_for(reference, 45)
    assert_same(rollout(reference, actions), rollout(threads, actions))


@pytest.mark.parametrize(
    "name", ["Pendulum-v1", "CartPole-v1", pytest.param("Hopper-v5", marks=needs_mujoco_gym)]
)
def test_equals_hand_stepped_gymnasium(name):
    """Observations, rewards, endings and final observations, over several autoresets."""
    steps, count = 90, 2
    vector = robo.make_vec(f"gym/{name}", count, backend="in_process", max_episode_steps=30)
    singles = [gymnasium.make(name, max_episode_steps=30) for _ in range(count)]
    actions = actions_for(vector, steps)
    observation, _ = vector.reset(seed=5)
    for row, single in enumerate(singles):
        first, _ = single.reset(seed=5 + row)
        np.testing.assert_array_equal(observation["state"][row], first.astype(np.float32))
    endings = 0
    for action in actions:
        observation, reward, terminated, truncated, infos = vector.step(action)
        for row, single in enumerate(singles):
            state, expected, ends, cut, info = single.step(action[row])
            assert reward[row] == np.float32(expected)
            assert (terminated[row], truncated[row]) == (ends, cut and not ends)
            if ends or cut:
                endings += 1
                final = infos["final_obs"][row]["state"]
                np.testing.assert_array_equal(final, state.astype(np.float32))
                assert infos["_final_info"][row]
                for key, value in info.items():
                    assert infos["final_info"][key][row] == value
                state, _ = single.reset()
            np.testing.assert_array_equal(observation["state"][row], state.astype(np.float32))
    assert endings >= 4


def test_returned_arrays_are_fresh():
    vector = robo.make_vec("gym/CartPole-v1", 2, backend="in_process")
    first, _ = vector.reset(seed=0)
    kept = first["state"].copy()
    vector.step(np.array([0, 1]))
    np.testing.assert_array_equal(first["state"], kept)


@pytest.mark.parametrize("backend", ["in_process", "workers"])
def test_state_round_trip_continues_bit_for_bit(backend, tmp_path, cartpole_workers):
    if backend == "workers":
        vector = other = cartpole_workers
    else:
        vector, other = (robo.make_vec("gym/CartPole-v1", 3, backend=backend) for _ in range(2))
    actions = actions_for(vector, 60)
    vector.reset(seed=1)
    for action in actions[:25]:
        vector.step(action)
    torch.save(vector.state_dict(), tmp_path / "state.pt")
    expected = [vector.step(action)[0]["state"] for action in actions[25:]]
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    current = other.current_observation()["state"]
    assert current.shape == (3, 4)
    assert_same(expected, [other.step(action)[0]["state"] for action in actions[25:]])


def test_state_of_other_environments_is_refused():
    vector = robo.make_vec("gym/FrozenLake-v1", 2, backend="in_process")
    vector.reset(seed=0)
    with pytest.raises(StateNotSupportedError, match="cannot save its exact state"):
        vector.state_dict()
    small = robo.make_vec("gym/CartPole-v1", 1, backend="in_process")
    large = robo.make_vec("gym/CartPole-v1", 2, backend="in_process")
    large.reset(seed=0)
    with pytest.raises(RoboError, match="holds 2 environments"):
        small.load_state_dict(large.state_dict())


@pytest.mark.parametrize(
    ("actions", "sentence"),
    [
        (np.array([[np.nan], [0.0]]), "environment 0 holds NaN"),
        (np.array([[0.0], [np.inf]]), "environment 1 holds NaN or infinity"),
        (np.zeros((2, 2)), r"shape \(2, 2\), expected \(2, 1\)"),
        (np.zeros(2), "expected"),
        ("up", "not an array"),
    ],
)
def test_bad_continuous_actions(actions, sentence):
    vector = robo.make_vec("gym/Pendulum-v1", 2, backend="in_process")
    vector.reset(seed=0)
    with pytest.raises(RoboError, match=sentence):
        vector.step(actions)


def test_bad_discrete_actions_and_calls():
    vector = robo.make_vec("gym/CartPole-v1", 2, backend="in_process")
    with pytest.raises(RoboError, match="before the first reset"):
        vector.step(np.array([0, 1]))
    vector.reset(seed=0)
    with pytest.raises(RoboError, match="action 2 is outside"):
        vector.step(np.array([0, 2]))
    with pytest.raises(RoboError, match="not an array"):
        vector.step(np.array([0.5, 1.0]))
    with pytest.raises(RoboError, match="3 seeds for 2"):
        vector.reset(seed=[1, 2, 3])
    with pytest.raises(RoboError, match="no camera wrist"):
        vector.set_camera_schedule(CameraSchedule(("wrist",)))
    vector.close()
    with pytest.raises(RoboError, match="closed"):
        vector.step(np.array([0, 1]))


def test_workers_end_with_their_parent():
    script = (
        "import os, robo; v = robo.make_vec('gym/CartPole-v1', 1, backend='workers');"
        "print(v.process_ids[0], flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    worker = int(done.stdout)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and is_running(worker):
        time.sleep(0.05)
    assert not is_running(worker)


def test_worker_start_up_failure_is_one_sentence():
    with pytest.raises(RoboError, match="cannot be made with"):
        robo.make_vec("gym/CartPole-v1", 1, backend="workers", no_such_option=3)


def test_worker_memory_can_be_remade(cartpole_workers):
    actions = actions_for(cartpole_workers, 10)
    before = rollout(cartpole_workers, actions)
    cartpole_workers.rebuild()
    assert_same(before, rollout(cartpole_workers, actions))


@pytest.mark.alone
def test_auto_keeps_cheap_environments_in_process():
    start = time.monotonic()
    vector = robo.make_vec("gym/MountainCar-v0", 4)
    assert vector.backend == "in_process"
    assert set(vector.backend_measurements) == {"in_process"}
    assert vector.backend_measurements["in_process"] > 0
    assert time.monotonic() - start < 5


def test_auto_measures_slow_environments(monkeypatch):
    monkeypatch.setattr("robo.sim.selection.CHEAP", float("inf"))
    monkeypatch.setattr("robo.sim.selection.available_cores", lambda: 2)
    vector = choose([partial(robo.make, "gym/CartPole-v1")] * 2, seconds=0.05)
    assert set(vector.backend_measurements) == set(GENERIC_BACKENDS)
    best = max(vector.backend_measurements, key=vector.backend_measurements.get)
    assert vector.backend == best
    reference = robo.make_vec("gym/CartPole-v1", 2, backend="in_process")
    actions = actions_for(reference, 30)
    assert_same(rollout(reference, actions), rollout(vector, actions))
    vector.close()


def test_steps_per_second_counts_all_environments():
    vector = robo.make_vec("gym/CartPole-v1", 2, backend="in_process")
    assert steps_per_second(vector, seconds=0.01) > 0


@needs_mujoco_gym
@pytest.mark.slow
def test_frames_are_equal_on_every_backend_and_final_ones_exact():
    name, schedule = "gym/HalfCheetah-v5", CameraSchedule(("front",), 24, 32, stride=4)
    logs = []
    for backend in GENERIC_BACKENDS:
        vector = robo.make_vec(name, 2, backend=backend, max_episode_steps=6)
        vector.set_camera_schedule(schedule)
        logs.append(rollout(vector, actions_for(vector, 8)))
        vector.close()
    assert_same(logs[0], logs[1])
    assert_same(logs[0], logs[2])
    vector = robo.make_vec(name, 1, backend="in_process", max_episode_steps=6)
    single = robo.make(name, max_episode_steps=6)
    vector.set_camera_schedule(schedule)
    single.set_camera_schedule(schedule)
    vector.reset(seed=2)
    single.reset(seed=2)
    for action in actions_for(vector, 6):
        *_, infos = vector.step(action)
        *_, info = single.step(action[0])
    frames = infos["frames"]
    assert list(frames.final) == [True, False]
    np.testing.assert_array_equal(frames.views["front"][0], info["frames"]["front"])
    _, info = single.reset()
    np.testing.assert_array_equal(frames.views["front"][1], info["frames"]["front"])
    vector.close()
    single.close()
