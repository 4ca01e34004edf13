"""Every robosuite id: makes, steps, keeps the contract, repeats bit for bit, shows pictures."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from robo.errors import UnknownTaskError
from robo.rollout import CameraSchedule
from robo.sim.contract_check import check_contract
from robo.sim.robosuite.compatibility import version
from robo.sim.robosuite.tasks import TASKS, installed

PAIR = CameraSchedule(("front", "wrist"), 48, 48, 4)


@pytest.fixture
def make(robosuite: Any) -> Any:
    from robo.sim.robosuite.provider import make

    return make


def run(environment: Any, actions: np.ndarray, seed: int | None = 3) -> list[Any]:
    """States, rewards and frames of an episode; without a seed it goes on."""
    record: list[Any] = []
    if seed is not None:
        observation, info = environment.reset(seed=seed)
        record.append((observation["state"], info.get("frames")))
    for action in actions:
        observation, reward, terminated, truncated, info = environment.step(action)
        record.append((observation["state"], info.get("frames"), reward))
        if terminated or truncated:
            break
    return record


def same(one: list[Any], other: list[Any]) -> bool:
    def equal(a: Any, b: Any) -> bool:
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
        return a is b is None or np.array_equal(a, b)

    return len(one) == len(other) and all(
        all(equal(a, b) for a, b in zip(first, second, strict=True))
        for first, second in zip(one, other, strict=True)
    )


def test_the_table_names_every_single_arm_task_of_the_installed_robosuite(robosuite: Any) -> None:
    names = {name for name in robosuite.ALL_ENVIRONMENTS if "TwoArm" not in name}
    # LIBERO registers its own beside them.
    here = {
        name
        for name in names
        if robosuite.environments.base.REGISTERED_ENVS[name].__module__.startswith("robosuite.")
    }
    assert here == set(installed())


QUICK = ("Lift", "PickPlaceSingle", "Wipe")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(TASKS)],
)
def test_task(make: Any, name: str) -> None:
    """Two views upright and not constant; replay after another history; exact restore."""
    if version() < TASKS[name].since:
        with pytest.raises(UnknownTaskError, match="needs robosuite"):
            make(f"robosuite/{name}")
        return
    environment = make(f"robosuite/{name}")
    environment.set_camera_schedule(PAIR)
    environment.action_space.seed(1)
    actions = np.stack([environment.action_space.sample() for _ in range(14)])
    first = run(environment, actions[:8])
    frames = first[0][1]
    for image in frames.values():
        assert image.shape == (48, 48, 3) and image.std() > 8
    assert [row[1] is not None for row in first] == [index % 4 == 0 for index in range(9)]
    state = environment.state_dict()
    rest = run(environment, actions[8:], seed=None)
    run(environment, actions[3:9], seed=11)
    assert same(run(environment, actions[:8]), first)
    run(environment, actions[5:7], seed=12)
    environment.load_state_dict(state)
    assert same(run(environment, actions[8:], seed=None), rest)
    assert sum(part.stop - part.start for part in environment.state_layout.values()) == len(
        first[0][0]
    )
    assert environment.instruction and environment.max_episode_steps == TASKS[name].horizon
    environment.set_camera_schedule(None)
    check_contract(environment, steps=8)
    environment.close()
    environment.close()


def test_images_are_upright(make: Any) -> None:
    """The light table top fills the lower rows of the front view, and hides no floor above."""
    environment = make("robosuite/Lift")
    environment.reset(seed=0)
    front = environment.renderer.frames(("front",), 64, 64)["front"].mean(axis=(1, 2))
    assert front[-16:].mean() > front[:16].mean() + 40
    environment.close()


def test_contract(make: Any) -> None:
    environment = make("robosuite/Lift", horizon=30)
    check_contract(environment, steps=35)
    environment.close()


def test_state_is_where_the_layout_says(lift: Any) -> None:
    observation, _ = lift.reset(seed=2)
    cube = observation["state"][lift.state_layout["cube_pos"]]
    body = lift.raw.sim.data.body_xpos[lift.raw.cube_body_id]
    np.testing.assert_allclose(cube, body, atol=1e-6)


def test_seeds_decide_and_differ(lift: Any) -> None:
    one, _ = lift.reset(seed=1)
    two, _ = lift.reset(seed=2)
    again, _ = lift.reset(seed=1)
    later, _ = lift.reset()
    assert np.array_equal(one["state"], again["state"])
    assert not np.array_equal(one["state"], two["state"])
    assert not np.array_equal(one["state"], later["state"])


def test_the_callers_generators_are_left_alone(lift: Any) -> None:
    np.random.seed(5)
    expected = np.random.RandomState(5).rand(2)
    lift.reset(seed=1)
    first = np.random.rand()
    lift.step(np.zeros(7))
    assert np.array_equal([first, np.random.rand()], expected)


def test_time_limit_truncates_and_success_terminates(make: Any) -> None:
    environment = make("robosuite/Lift", horizon=3)
    environment.reset(seed=0)
    ends = [environment.step(np.zeros(7))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    environment.reset(seed=0)
    raw = environment.raw
    pose = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    raw.sim.data.set_joint_qpos(raw.cube.joints[0], pose)
    raw.sim.forward()
    _, reward, terminated, truncated, info = environment.step(np.zeros(7))
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    environment.close()


def test_split_physics_give_the_same_bits(make: Any) -> None:
    """Under contact too: the arm is pushed down onto the table."""
    environment = make("robosuite/Lift")
    actions = np.tile(np.float32([0.3, 0.1, -1.0, 0.2, 0.0, 0.3, 1.0]), (25, 1))
    assert environment._physics.possible or hasattr(environment.raw, "lite_physics")
    split = run(environment, actions)
    assert environment.raw.sim.data.ncon > 4
    environment._physics.possible = False
    assert same(run(environment, actions), split)
    environment.close()


@pytest.mark.slow
def test_hard_reset_draws_another_cube_and_still_repeats(make: Any) -> None:
    environment = make("robosuite/Lift", hard_reset=True)
    environment.set_camera_schedule(PAIR)
    actions = np.zeros((5, 7), np.float32)
    first = run(environment, actions, seed=1)
    size = environment.raw.cube.size
    run(environment, actions, seed=2)
    assert environment.raw.cube.size != size
    assert same(run(environment, actions, seed=1), first)
    environment.close()


def test_other_robots_and_controllers(make: Any) -> None:
    environment = make("robosuite/Lift", robot="UR5e", controller="JOINT_POSITION")
    observation, _ = environment.reset(seed=0)
    assert environment.action_space.shape == (7,)
    assert environment.observation_space.contains(observation)
    environment.close()


@pytest.mark.slow
def test_objects_drawn_by_seed_do_not_depend_on_the_process(robosuite: Any) -> None:
    """robosuite draws from a list made of a set of strings, whose order is per process."""
    program = (
        "from robo.sim.robosuite.provider import make\n"
        "e = make('robosuite/PickPlaceSingle')\n"
        "print([e.reset(seed=s) and e.raw.obj_to_use for s in range(6)])"
    )
    names = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(names) == 1
    assert len(set(ast.literal_eval(names.pop()))) > 1
