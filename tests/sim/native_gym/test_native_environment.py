"""The native backend of ``gym/<id>`` under the vector contract."""

from __future__ import annotations

import importlib.util

import gymnasium
import numpy as np
import pytest
import torch

import robo
from robo.errors import RoboError
from robo.rollout import CameraSchedule
from robo.sim.contract import StateNotSupportedError
from robo.sim.contract_check import check_contract
from robo.sim.native_gym.make import NATIVE
from robo.sim.native_gym.physics import batch_available

HAS_MUJOCO_GYM = batch_available() and importlib.util.find_spec("imageio") is not None
CLASSIC = ["CartPole-v1", "Pendulum-v1"]
NAMES = sorted(NATIVE) if HAS_MUJOCO_GYM else CLASSIC
needs_batch = pytest.mark.skipif(not HAS_MUJOCO_GYM, reason="needs mujoco.batch and imageio")


def actions_for(vector, steps, seed=0):
    vector.single_action_space.seed(seed)
    return [
        np.stack([vector.single_action_space.sample() for _ in range(vector.num_envs)])
        for _ in range(steps)
    ]


def assert_same_step(left, right):
    np.testing.assert_array_equal(left[0]["state"], right[0]["state"], strict=True)
    for one, other in zip(left[1:4], right[1:4], strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    for key in ("success", "_final_obs"):
        np.testing.assert_array_equal(left[4].get(key), right[4].get(key))
    assert left[4]["signals"] == right[4]["signals"]
    for one, other in zip(left[4].get("final_obs", ()), right[4].get("final_obs", ()), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one["state"], other["state"], strict=True)


@pytest.mark.parametrize("name", NAMES)
def test_auto_is_native_and_agrees_with_the_loop(name):
    native = robo.make_vec(f"gym/{name}", 3, max_episode_steps=12)
    loop = robo.make_vec(f"gym/{name}", 3, backend="in_process", max_episode_steps=12)
    assert (native.backend, loop.backend) == ("native", "in_process")
    assert native.task == loop.task
    assert native.max_episode_steps == loop.max_episode_steps == 12
    assert native.observation_space == loop.observation_space
    assert native.action_space == loop.action_space
    left, right = native.reset(seed=[5, 1, 9]), loop.reset(seed=[5, 1, 9])
    np.testing.assert_array_equal(left[0]["state"], right[0]["state"], strict=True)
    assert left[1].keys() == right[1].keys()
    for action in actions_for(native, 30):
        assert_same_step(native.step(action), loop.step(action))
        assert [native.episode_info(i) for i in range(3)] == [
            loop.episode_info(i) for i in range(3)
        ]
    left, right = native.reset(), loop.reset()
    np.testing.assert_array_equal(left[0]["state"], right[0]["state"], strict=True)
    native.close()
    loop.close()


@pytest.mark.parametrize("name", NAMES)
def test_exact_state_continues_bit_for_bit(name, tmp_path):
    """Saved mid-episode, read without pickle into another vector, over autoresets."""
    one, two = (robo.make_vec(f"gym/{name}", 3, max_episode_steps=20) for _ in range(2))
    one.reset(seed=4)
    actions = actions_for(one, 50)
    for action in actions[:13]:
        one.step(action)
    torch.save(one.state_dict(), tmp_path / "state.pt")
    before = one.current_observation()["state"]
    after = [one.step(action) for action in actions[13:]]
    two.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    np.testing.assert_array_equal(two.current_observation()["state"], before)
    for action, expected in zip(actions[13:], after, strict=True):
        assert_same_step(two.step(action), expected)
    assert two.episode_info(0) == one.episode_info(0)
    one.close()
    two.close()


def test_state_of_another_size_or_before_reset_is_refused():
    small, large = robo.make_vec("gym/CartPole-v1", 1), robo.make_vec("gym/CartPole-v1", 2)
    with pytest.raises(StateNotSupportedError, match="before its first reset"):
        small.state_dict()
    small.reset(seed=0)
    with pytest.raises(RoboError, match="holds 1 environments"):
        large.load_state_dict(small.state_dict())


def test_state_of_the_generic_backend_is_continued():
    """Runs that were saved before the native backend was there resume."""
    loop = robo.make_vec("gym/CartPole-v1", 2, backend="in_process")
    native = robo.make_vec("gym/CartPole-v1", 2)
    loop.reset(seed=0)
    actions = actions_for(loop, 60)
    for action in actions[:20]:
        loop.step(action)
    native.load_state_dict(loop.state_dict())
    assert native.backend == "in_process"
    for action in actions[20:]:
        assert_same_step(native.step(action), loop.step(action))
    np.testing.assert_array_equal(native.reset()[0]["state"], loop.reset()[0]["state"])
    assert native.backend == "native"
    assert_same_step(native.step(actions[0]), loop.step(actions[0]))


@pytest.mark.parametrize("name", ["CartPole-v1", *(["Hopper-v5"] if HAS_MUJOCO_GYM else [])])
def test_contract_without_cameras(name):
    vector = robo.make_vec(f"gym/{name}", 3)
    check_contract(vector, render=False)
    vector.close()


@needs_batch
def test_frames_come_from_the_generic_loop():
    """Equal frames and steps; native again at the next reset without a schedule."""
    native = robo.make_vec("gym/Hopper-v5", 2, max_episode_steps=5)
    loop = robo.make_vec("gym/Hopper-v5", 2, backend="in_process", max_episode_steps=5)
    schedule = CameraSchedule(("front",), height=16, width=16, stride=2)
    native.reset(seed=0)
    loop.reset(seed=0)
    actions = actions_for(native, 24)
    for action in actions[:6]:
        assert_same_step(native.step(action), loop.step(action))
    for vector in (native, loop):
        vector.set_camera_schedule(schedule)
    assert native.backend == "native"
    left, right = native.reset(), loop.reset()
    assert native.backend == "in_process"
    np.testing.assert_array_equal(left[0]["state"], right[0]["state"])
    for action in actions[6:14]:
        left, right = native.step(action), loop.step(action)
        assert_same_step(left, right)
        assert ("frames" in left[4]) == ("frames" in right[4])
        if "frames" in left[4]:
            for one, other in zip(
                vars(left[4]["frames"]).values(), vars(right[4]["frames"]).values(), strict=True
            ):
                np.testing.assert_equal(one, other)
    for vector in (native, loop):
        vector.set_camera_schedule(None)
    np.testing.assert_array_equal(native.reset()[0]["state"], loop.reset()[0]["state"])
    assert native.backend == "native"
    for action in actions[14:]:
        assert_same_step(native.step(action), loop.step(action))
    native.close()
    loop.close()


def test_unknown_views_are_refused():
    with pytest.raises(RoboError, match="no camera side"):
        robo.make_vec("gym/CartPole-v1", 1).set_camera_schedule(CameraSchedule(("side",)))


def test_reset_options_are_gymnasiums():
    vector = robo.make_vec("gym/CartPole-v1", 2)
    observation, _ = vector.reset(seed=0, options={"low": 0.04, "high": 0.05})
    single = gymnasium.make("CartPole-v1")
    expected, _ = single.reset(seed=1, options={"low": 0.04, "high": 0.05})
    np.testing.assert_array_equal(observation["state"][1], expected)


def test_an_unseeded_reset_draws_new_starts():
    vector = robo.make_vec("gym/Pendulum-v1", 4)
    first, second = vector.reset()[0]["state"], vector.reset()[0]["state"]
    assert len(np.unique(np.concatenate([first, second])[:, 0])) == 8
    assert vector.episode_info(2).seed is None


def test_returned_arrays_are_fresh():
    vector = robo.make_vec("gym/Pendulum-v1", 2)
    first = vector.reset(seed=0)[0]["state"]
    kept = first.copy()
    observation, reward, terminated, truncated, _ = vector.step(np.ones((2, 1)))
    copies = [array.copy() for array in (observation["state"], reward, terminated, truncated)]
    first[:] = observation["state"][:] = 7
    terminated[:] = True
    again = vector.step(np.ones((2, 1)))
    assert not again[2].any()
    vector.reset(seed=0)
    np.testing.assert_array_equal(vector.current_observation()["state"], kept)
    replay = vector.step(np.ones((2, 1)))
    for array, copy in zip((replay[0]["state"], *replay[1:4]), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_misuse_is_named():
    vector = robo.make_vec("gym/Pendulum-v1", 2)
    with pytest.raises(RoboError, match="before the first reset"):
        vector.step(np.zeros((2, 1)))
    with pytest.raises(RoboError, match="before the first reset"):
        vector.episode_info(0)
    with pytest.raises(RoboError, match="3 seeds for 2"):
        vector.reset(seed=[1, 2, 3])
    vector.reset(seed=0)
    with pytest.raises(RoboError, match="environment 1 holds NaN"):
        vector.step(np.array([[0.0], [np.nan]]))
    with pytest.raises(RoboError, match="expected"):
        vector.step(np.zeros((3, 1)))
    vector.close()
    with pytest.raises(RoboError, match="closed"):
        vector.reset()


@needs_batch
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Ant-v5", {}),
        ("Humanoid-v5", {}),
        ("Hopper-v4", {}),
        ("Hopper-v5", {"xml_file": "hopper.xml"}),
        ("Hopper-v5", {"width": 64, "height": 64}),
    ],
)
def test_others_stay_on_the_generic_backends(name, options):
    if name not in gymnasium.registry:
        pytest.skip(f"{name} is not registered")
    with pytest.raises(RoboError, match="no native vector backend"):
        robo.make_vec(f"gym/{name}", 1, backend="native", **options)


def test_an_id_registered_anew_is_not_taken_for_gymnasiums(monkeypatch):
    class Other(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

    spec = gymnasium.envs.registration.EnvSpec("CartPole-v1", entry_point=Other)
    monkeypatch.setitem(gymnasium.registry, "CartPole-v1", spec)
    with pytest.raises(RoboError, match="no native vector backend"):
        robo.make_vec("gym/CartPole-v1", 1, backend="native")


@needs_batch
def test_without_mujoco_batch_the_loop_steps(monkeypatch):
    monkeypatch.setattr("robo.sim.native_gym.make.batch_available", lambda: False)
    vector = robo.make_vec("gym/InvertedPendulum-v5", 1)
    assert vector.backend != "native"
    vector.close()


def test_bad_options_are_named():
    with pytest.raises(RoboError, match="threads is -1"):
        robo.make_vec("gym/CartPole-v1", 1, threads=-1)
    with pytest.raises(RoboError, match="no_such_option"):
        robo.make_vec("gym/CartPole-v1", 1, no_such_option=3)
