"""Distances on stored episodes, with counterfactuals from a real simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import robo
from robo.assess.branching import BranchOptions, branch
from robo.assess.sampled_distances import SampleOptions, draw, sampled_distances
from robo.assess.transitions import states_of, transition_rewards
from robo.errors import RoboError, StoreError
from robo.policies.recorder import record_episodes
from robo.rewards.naive import NaiveProgressReward
from robo.rewards.potential import ProgressDifferenceReward, SignalPotential
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import EnvironmentReward, NoReward, SuccessReward
from robo.sim.experts import make_expert

GAMMA = 0.9
OPTIONS = SampleOptions(24, pairs=8, gamma=GAMMA, branch=BranchOptions(3, 3, 2))
UP = np.linspace(0, 1, 11)


def rewards(potential):
    return {
        "success": SuccessReward(),
        "shaped": ShapedReward(SuccessReward(), potential(), GAMMA),
        "heavily shaped": ShapedReward(SuccessReward(), potential(), GAMMA, weight=5),
        "naive": NaiveProgressReward(potential()),
        "raw": NaiveProgressReward(potential(), NoReward()),
        "nothing": ShapedReward(NoReward(), potential(), GAMMA),
    }


@pytest.fixture(scope="module")
def reach():
    """Episodes of mujoco/Reach: the expert's."""
    env = robo.make_vec("mujoco/Reach", 3)
    try:
        return record_episodes(env, make_expert("mujoco/Reach"), range(3))
    finally:
        env.close()


def test_rewards_of_any_transition_by_hand(make_episode, brightness):
    episodes = [make_episode(np.array([0, 51, 102, 255]) / 255, True), make_episode([0, 0.2])]
    reward = ShapedReward(SuccessReward(), brightness(), GAMMA)
    states, places = states_of(episodes, reward.camera)
    assert places == [[0, 1, 2, 3], [4, 5]]
    before, after = np.array([1, 0, 3, 2]), np.array([2, 3, 1, 2])
    paid = transition_rewards(reward, states, before, np.zeros((4, 2), np.float32), after, batch=3)
    expected = [0.9 * 0.4 - 0.2, 1 + 0.9, 0.9 * 0.2 - 1, (0.9 - 1) * 0.4]
    assert paid.tolist() == pytest.approx(expected)


def test_signals_of_a_pair_of_states(make_episode):
    done = 10 * UP[1:]
    episode = make_episode(UP, route_completion=done, delta_route_completion=np.ones(10))
    states, _ = states_of([episode], None)
    reward = NaiveProgressReward(SignalPotential("delta_route_completion"), NoReward())
    paid = transition_rewards(
        reward, states, np.array([2, 8]), np.zeros((2, 2), np.float32), np.array([8, 2])
    )
    assert paid.tolist() == pytest.approx([6, -6])


@pytest.mark.parametrize("pixels", [False, True])
def test_epic_of_stored_transitions_needs_no_simulator(episodes, brightness, pixels):
    made = rewards(brightness if pixels else SignalPotential)
    sample = draw(episodes, brightness().camera if pixels else None, OPTIONS)
    found = sampled_distances(made, sample, OPTIONS)
    epic = dict(zip(found["names"], np.array(found["epic"])[0], strict=True))
    assert epic["shaped"] < 1e-5 and epic["heavily shaped"] < 1e-5  # rewards are float32
    assert epic["naive"] > 0.1 and epic["raw"] > 0.1
    assert epic["nothing"] == pytest.approx(0.5)  # as for the zero vector
    assert found["dard"] is None and found["starc"] is None and found["transitions"] == 24


def test_all_three_with_resets_of_the_simulator(reach):
    sample = draw(reach, None, OPTIONS, robo.make)
    made = {**rewards(SignalPotential), "environment": EnvironmentReward()}
    found = sampled_distances(made, sample, OPTIONS)
    assert set(found["left_out"]) == {"environment"}
    for kind in ("epic", "dard", "starc"):
        matrix = np.array(found[kind])
        assert np.allclose(matrix, matrix.T) and (np.diag(matrix) == 0).all()
        assert matrix.min() >= 0 and matrix.max() <= 1
        first = dict(zip(found["names"], matrix[0], strict=True))
        assert first["shaped"] < 1e-4 and first["heavily shaped"] < 1e-4, kind
        # Success outweighs what a short step adds to raw progress; alone, that is far away.
        assert first["naive"] > 0.02 and first["raw"] > 0.1, kind
        assert first["nothing"] == pytest.approx(0.5), kind


def test_trials_start_in_the_stored_state_and_repeat(reach):
    def trials(seed):
        states, places = states_of(reach, None)
        env = robo.make("mujoco/Reach")
        try:
            options = BranchOptions(2, 2, 1, seed)
            found = branch(env, reach[1], 1, [0, 3], places[1], states, None, options)
        finally:
            env.close()
        return found, states

    (found, states), (again, repeated), (other, _) = trials(0), trials(0), trials(1)
    assert set(found) == {0, 3}
    assert [path[0] for path in found[3].paths] == [states.start[found[3].paths[0][0]] + 3] * 2
    assert states.signals == repeated.signals
    assert np.array_equal(found[3].actions, again[3].actions)
    assert not np.array_equal(found[3].actions, other[3].actions)


def test_episodes_without_observations_are_compared_by_their_signals(reach):
    """As `robo assess` gets them where only frames and signals were stored."""
    bare = replace(reach[0], observation={})
    states, places = states_of([bare], None)
    env = robo.make("mujoco/Reach")

    def trials(episode):
        return branch(env, episode, 0, [0, 2], places[0], states, None, BranchOptions(1, 1))

    try:
        assert set(trials(bare)) == {0, 2}
        with pytest.raises(RoboError, match="another state at step 1"):
            trials(replace(bare, info=replace(bare.info, seed=99)))
        with pytest.raises(RoboError, match="cannot be checked"):
            trials(replace(bare, signals={}))
    finally:
        env.close()


def test_what_cannot_be_sampled_is_named(reach, make_episode, brightness):
    env = robo.make("mujoco/Reach")
    states, places = states_of(reach, None)
    another = replace(reach[0], info=replace(reach[0].info, seed=99))
    try:
        with pytest.raises(RoboError, match="another state at step 1"):
            branch(env, another, 0, [2], places[0], states, None, BranchOptions())
    finally:
        env.close()
    with pytest.raises(RoboError, match="stride 1"):
        draw([make_episode(UP, stride=5)], brightness().camera, OPTIONS)
    with pytest.raises(StoreError, match="speed"):
        transition_rewards(
            NaiveProgressReward(SignalPotential("speed")), states, np.array([0]),
            np.zeros((1, 4)), np.array([1]),
        )  # fmt: skip
    difference = ProgressDifferenceReward(SuccessReward(), SignalPotential())
    sample = draw([make_episode(UP, True)], None, SampleOptions(5))
    assert sampled_distances({"difference": difference}, sample, OPTIONS)["names"]
