"""The same seeds and actions in robosuite's own environment and in the batch.

Both have the same model, MuJoCo and initial states. They differ in how the controller's matrices
are inverted (singular values there, Cholesky factors here), 1e-16 per physics step, which contacts
amplify: measured 1e-11 after 100 control steps with contacts. The tolerances leave room for other
BLAS libraries, which round robosuite's single-precision goal rotations differently (1e-7 rad).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robo.sim.mujoco.expert import ExpertStyle

STEPS = 60


def compare(lift: Any, batch: Any, seed: int, choose: Any) -> tuple[np.ndarray, bool, bool]:
    """Differences of the state vectors ``[T, 42]`` over an episode; success there and here."""
    observation, _ = batch.reset(seed=[seed])
    other, _ = lift.reset(seed=seed)
    differences = [observation["state"][0, :42] - other["state"]]
    started = np.ones(1, bool)
    there = here = False
    for step in range(STEPS):
        action = choose(step, observation, started)
        observation, _, terminated, _, infos = batch.step(action)
        other, _, over, _, _ = lift.step(action[0])
        there, here = over, bool(terminated[0])
        state = infos["final_obs"][0]["state"] if here else observation["state"][0]
        differences.append(state[:42] - other["state"])
        started = terminated
        if there or here:
            break
    return np.stack(differences), there, here


@pytest.mark.parametrize("seed", [0, 7])
def test_random_actions(seed: int, lift: Any, make_vec: Any) -> None:
    draw = np.random.default_rng(seed)
    drift = draw.normal(size=7) * 0.3
    actions = np.clip(drift + draw.normal(size=(STEPS, 1, 7)) * 0.7, -1, 1).astype(np.float32)
    actions[20:30, :, 3:6] = 0  # the goal's orientation stays
    batch = make_vec(1, horizon=200)
    differences, _, _ = compare(lift, batch, seed, lambda step, *_: actions[step])
    assert np.abs(differences[0]).max() == 0
    assert np.abs(differences[:20]).max() < 1e-5
    assert np.abs(differences[:, :14]).max() < 1e-5  # joint angles
    assert np.abs(differences[:, 21:24]).max() < 1e-5  # hand, m


def test_actions_without_rotation(make_vec: Any) -> None:
    import robo

    draw = np.random.default_rng(3)
    drift = draw.normal(size=4) * 0.3
    actions = np.clip(drift + draw.normal(size=(STEPS, 1, 4)) * 0.7, -1, 1).astype(np.float32)
    single = robo.make("robosuite/Lift", controller="OSC_POSITION")
    try:
        batch = make_vec(1, horizon=200, controller="OSC_POSITION")
        differences, _, _ = compare(single, batch, 3, lambda step, *_: actions[step])
    finally:
        single.close()
    assert np.abs(differences[0]).max() == 0
    assert np.abs(differences[:20]).max() < 1e-5
    assert np.abs(differences[:, :14]).max() < 1e-5  # joint angles
    assert np.abs(differences[:, 21:24]).max() < 1e-5  # hand, m


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_grasp_and_lift(noise: float, lift: Any, make_vec: Any) -> None:
    from robo.sim.robosuite_batch.expert import make_expert

    actor = make_expert("robosuite-batch/Lift", ExpertStyle(noise, 1.0, 0.0), seed=1)
    batch = make_vec(1, horizon=200)
    differences, there, here = compare(lift, batch, 4, lambda _, *seen: actor(*seen))
    assert there and here
    assert np.abs(differences[:, 21:24]).max() < 1e-5  # hand, m
    assert np.abs(differences[:, 32:35]).max() < 1e-4  # cube, m


def test_models_are_the_same(scene: Any, lift: Any) -> None:
    theirs, different = lift.raw.sim.model._model, []
    for name in dir(theirs):
        array = getattr(theirs, name, None)
        if isinstance(array, np.ndarray) and not name.startswith("_"):
            mine = getattr(scene.model, name)
            if mine.shape != array.shape or not np.array_equal(mine, array):
                different.append(name)
    assert different == []
