"""Scripted experts solve their tasks, scripted failures do not, and keyframes are in order."""

from __future__ import annotations

import numpy as np
import pytest

from robo.errors import RoboError
from robo.sim.mujoco.expert import CLEAN, FAILURES, ExpertStyle, make_expert
from robo.sim.mujoco.tasks import TASKS
from robo.sim.mujoco.vector import MujocoVectorEnvironment

NUM_ENVS = 64


def first_episodes(name, style=CLEAN, script="expert", seed=1000):
    """(success ``[N]``, keyframes per environment) of the first episode of each environment."""
    env = MujocoVectorEnvironment(name, NUM_ENVS)
    actor = make_expert(f"mujoco/{name}", style, 0, script)
    observation, _ = env.reset(seed=seed)
    started = np.ones(NUM_ENVS, bool)
    over, solved = np.zeros(NUM_ENVS, bool), np.zeros(NUM_ENVS, bool)
    marks: list[dict[str, int]] = [{} for _ in range(NUM_ENVS)]
    for _ in range(env.max_episode_steps):
        action = actor(observation, started)
        assert action.dtype == np.float32 and np.abs(action).max() <= 1
        observation, _, terminated, truncated, _ = env.step(action)
        started = terminated | truncated
        for i in np.flatnonzero(started & ~over):
            marks[i] = actor.keyframes(i)
        solved |= terminated & ~over
        over |= started
    return solved, marks


@pytest.mark.parametrize("name", TASKS)
def test_clean_experts_solve_their_tasks(name):
    solved, _ = first_episodes(name)
    assert solved.mean() >= 0.95


@pytest.mark.parametrize(("name", "rate"), [("Reach", 0.9), ("Push", 0.75), ("Lift", 0.9)])
def test_noisy_experts_with_detours_mostly_solve_their_tasks(name, rate):
    solved, _ = first_episodes(name, ExpertStyle())
    assert solved.mean() >= rate


@pytest.mark.parametrize("script", FAILURES)
def test_failure_scripts_fail(script):
    solved, _ = first_episodes("Lift", script=script)
    assert solved.mean() <= 0.1


@pytest.mark.parametrize("style", [CLEAN, ExpertStyle()])
def test_keyframes_of_a_lift_come_in_order_and_name_states(style):
    solved, marks = first_episodes("Lift", style)
    horizon = TASKS["Lift"].horizon
    for i in np.flatnonzero(solved):
        assert list(marks[i]) == ["grasp", "lift"]
        assert 0 < marks[i]["grasp"] < marks[i]["lift"] <= horizon


def test_the_seed_decides_an_actor():
    observation = MujocoVectorEnvironment("Lift", 4).reset(seed=0)[0]
    started = np.ones(4, bool)

    def act(seed):
        return make_expert("mujoco/Lift", ExpertStyle(), seed)(observation, started)

    np.testing.assert_array_equal(act(3), act(3))
    assert not np.array_equal(act(3), act(4))


def test_metadata_tells_demonstrations_from_failures():
    expert = make_expert("mujoco/Lift")
    assert expert.metadata(0) == {"kind": "demonstration", "actor": "LiftExpert"}
    drop = make_expert("mujoco/Lift", script="drop").metadata(0)
    assert drop == {"kind": "failure", "actor": "drop", "progress_ceiling": FAILURES["drop"]}


def test_unknown_tasks_and_scripts_are_one_sentence():
    with pytest.raises(RoboError, match="'gym/CartPole-v1' has no scripted expert"):
        make_expert("gym/CartPole-v1")
    with pytest.raises(RoboError, match="'juggle' does not exist for mujoco/Lift"):
        make_expert("mujoco/Lift", script="juggle")
    with pytest.raises(RoboError, match="'drop' does not exist for mujoco/Push"):
        make_expert("mujoco/Push", script="drop")
