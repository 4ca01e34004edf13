"""``gym/<id>``: any gymnasium environment under the contract."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

import robo
from robo.errors import RoboError, UnknownTaskError
from robo.sim.contract import StateNotSupportedError
from robo.sim.gym_spaces import adapted_observation
from robo.sim.state import decode, encode, generator_state, restore_generator

HAS_MUJOCO_GYM = importlib.util.find_spec("imageio") is not None
MUJOCO = [
    "Ant-v5",
    "HalfCheetah-v5",
    "Hopper-v5",
    "Humanoid-v5",
    "InvertedDoublePendulum-v5",
    "Pusher-v5",
    "Reacher-v5",
    "Swimmer-v5",
    "Walker2d-v5",
]
CLASSIC = [
    "Acrobot-v1",
    "CartPole-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
]


@pytest.mark.slow
@pytest.mark.skipif(not HAS_MUJOCO_GYM, reason="gymnasium's MuJoCo environments need imageio")
def test_an_unknown_gl_backend_is_one_sentence():
    program = """
import robo
from robo.errors import RenderingError
try:
    robo.make("gym/HalfCheetah-v5")
except RenderingError as error:
    print(error)
"""
    result = run(program, MUJOCO_GL="bogus")
    assert (result.returncode, result.stderr) == (0, "")
    assert "MUJOCO_GL='bogus'" in result.stdout and "robo doctor" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(not HAS_MUJOCO_GYM, reason="gymnasium's MuJoCo environments need imageio")
@pytest.mark.parametrize("made", ["make('gym/HalfCheetah-v5')", "make_vec('gym/Hopper-v5', 2)"])
def test_tasks_of_our_own_render_after_one_of_gymnasiums(made):
    """Whoever imports MuJoCo first does so with a GL backend chosen."""
    program = f"""
import robo
from robo.rollout import CameraSchedule
robo.{made}.close()
env = robo.make("mujoco/Reach")
env.set_camera_schedule(CameraSchedule(("front",), 16, 16))
print(env.reset(seed=0)[1]["frames"]["front"].shape)
env.close()
"""
    result = run(program)
    assert (result.returncode, result.stdout.strip()) == (0, "(16, 16, 3)"), result.stderr


@pytest.mark.skipif(not HAS_MUJOCO_GYM, reason="gymnasium's MuJoCo environments need imageio")
def test_render_draws_what_the_environment_draws():
    env = robo.make("gym/Hopper-v5", render_mode="rgb_array")
    assert env.render_mode == "rgb_array" and env.metadata["render_modes"] == ["rgb_array"]
    env.reset(seed=0)
    image = env.render()
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert image.std() > 0
    env.close()


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, in which nobody has chosen a GL backend yet."""
    chosen = ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "MUJOCO_EGL_DEVICE_ID")
    kept = {name: value for name, value in os.environ.items() if name not in chosen}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", [*CLASSIC, *(MUJOCO if HAS_MUJOCO_GYM else [])])
def test_exact_state_continues_bit_for_bit(name, tmp_path):
    """Saved mid-episode, read without pickle into a fresh environment, over a reset."""
    one, two = robo.make(f"gym/{name}"), robo.make(f"gym/{name}")
    one.action_space.seed(1)
    actions = [one.action_space.sample() for _ in range(24)]
    one.reset(seed=4)
    two.reset(seed=9)
    for action in actions[:9]:
        one.step(action)
    torch.save(one.state_dict(), tmp_path / "state.pt")
    two.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert two.episode_info() == one.episode_info()
    for index, action in enumerate(actions[9:]):
        if index == 8:
            np.testing.assert_array_equal(one.reset()[0]["state"], two.reset()[0]["state"])
        left, right = one.step(action), two.step(action)
        np.testing.assert_array_equal(left[0]["state"], right[0]["state"])
        assert left[1:4] == right[1:4]
    one.close()
    two.close()


def test_state_is_refused_before_reset_and_for_unknown_kinds():
    with pytest.raises(StateNotSupportedError, match="before its first reset"):
        robo.make("gym/CartPole-v1").state_dict()
    frozen = robo.make("gym/FrozenLake-v1")
    frozen.reset(seed=0)
    with pytest.raises(StateNotSupportedError, match="only gymnasium's classic-control"):
        frozen.state_dict()


def test_time_limit_and_success():
    class Goal(gymnasium.Env):
        observation_space = spaces.Box(-1, 1, (2,), np.float64)
        action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(2), {}

        def step(self, action):
            return np.zeros(2), 1.0, False, False, {"is_success": action == 1}

    gymnasium.register("robo-test-Goal-v0", Goal, max_episode_steps=3)
    try:
        goal = robo.make("gym/robo-test-Goal-v0")
        assert goal.max_episode_steps == 3
        goal.reset(seed=0)
        assert [goal.step(0)[2:4] for _ in range(3)] == [
            (False, False),
            (False, False),
            (False, True),
        ]
        goal.reset()
        goal.step(0)
        goal.step(0)
        _, _, terminated, truncated, info = goal.step(1)
        assert (terminated, truncated, info["success"]) == (True, False, True)
    finally:
        del gymnasium.registry["robo-test-Goal-v0"]


def test_older_versions_can_be_made_and_discrete_is_one_hot():
    lake = robo.make("gym/FrozenLake8x8-v1")
    observation, info = lake.reset(seed=0)
    assert observation["state"].shape == (64,)
    assert observation["state"].sum() == 1
    assert info["initial_state"] is None
    assert info["instruction"] == ""
    assert robo.make("gym/Pendulum-v1").action_space.high == pytest.approx(2.0)


def test_observation_spaces_become_state_and_images():
    image = spaces.Box(0, 255, (8, 6, 3), np.uint8)
    space = spaces.Dict(
        {
            "camera": image,
            "joints": spaces.Box(-2, 2, (2, 2), np.float64),
            "mode": spaces.Discrete(3),
        }
    )
    adapted, convert = adapted_observation("gym/x", space)
    sample = space.sample()
    observation = convert(sample)
    assert adapted["camera"] == image
    assert adapted["state"].shape == (7,)
    assert adapted.contains(observation)
    np.testing.assert_array_equal(observation["camera"], sample["camera"])
    np.testing.assert_array_equal(
        observation["state"][:4], sample["joints"].ravel().astype(np.float32)
    )
    bare, convert = adapted_observation("gym/x", image)
    assert bare.contains(convert(image.sample()))
    with pytest.raises(RoboError, match="no fixed length"):
        adapted_observation("gym/x", spaces.Sequence(spaces.Discrete(2)))


def test_bad_action_and_step_before_reset():
    single = robo.make("gym/Pendulum-v1")
    with pytest.raises(RoboError, match="before reset"):
        single.step(np.zeros(1))
    single.reset(seed=0)
    with pytest.raises(RoboError, match="NaN or infinity"):
        single.step(np.array([np.nan]))
    with pytest.raises(RoboError, match="expected"):
        single.step(np.zeros(3))


def test_bad_options_and_ids_are_sentences():
    with pytest.raises(RoboError, match="cannot be made with"):
        robo.make("gym/CartPole-v1", gravity_on_mars=3.7)
    with pytest.raises(UnknownTaskError, match=r"gym/CartPole-v1"):
        robo.make("gym/CartPol-v1")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_encoding_is_invertible(value):
    restored = decode(encode(value))
    assert restored == value
    assert type(restored) is type(value)


def test_encoding_keeps_numpy_types():
    for value in (np.float32(0.1), np.int64(3), np.bool_(True), np.arange(3.0)):
        restored = decode(encode(value))
        assert type(restored) is type(value)
        np.testing.assert_array_equal(restored, value, strict=True)
    with pytest.raises(TypeError):
        encode(object())


@given(st.integers(0, 2**32))
def test_generator_continues(seed):
    generator = np.random.default_rng(seed)
    generator.standard_normal(3)
    other = restore_generator(generator_state(generator))
    np.testing.assert_array_equal(generator.standard_normal(4), other.standard_normal(4))


def test_an_id_of_a_module_that_registers_it(tmp_path, monkeypatch):
    (tmp_path / "own_environments.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import PendulumEnv\n"
        "gymnasium.register('Own-v0', PendulumEnv, max_episode_steps=10)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    vector = robo.make_vec("gym/own_environments:Own-v0", 2)
    observation, _ = vector.reset(seed=3)
    assert observation["state"].shape == (2, 3) and vector.max_episode_steps == 10
    with pytest.raises(RoboError, match="no_such_module"):
        robo.make("gym/no_such_module:Own-v0")
