"""Stored episodes score as they would have in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robo.errors import StoreError
from robo.rewards.naive import NaiveProgressReward
from robo.rewards.potential import SignalPotential
from robo.rewards.replay import rollout_of, score
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import EnvironmentReward, SuccessReward

UP = np.linspace(0, 1, 11)


def test_the_rollout_keeps_the_contract(make_episode, brightness):
    parts = [make_episode(UP, True, stride=3), make_episode(UP[:5]), make_episode([0, 1], True)]
    rollout = rollout_of(parts, brightness(stride=3).camera).check()
    assert rollout.shape == (15, 1)
    assert rollout.final_observation.step.tolist() == [9, 13, 14]
    assert rollout.truncated[:, 0].nonzero().flatten().tolist() == [13]
    frames = rollout.frames
    assert frames is not None
    assert frames.step.tolist() == sorted(frames.step.tolist())
    # The first episode ends in the state at step 10, where the second one's first frame is too.
    at = frames.step == 10
    assert frames.final[at].tolist() == [True, False]
    assert frames.episode[at].tolist() == list(rollout.episodes)[:2]
    ended = rollout.final_observation.observation["state"].flatten().tolist()
    assert ended == pytest.approx([1, 0.4, 1])


def test_shaped_rewards_of_pixels_by_hand(make_episode, brightness):
    progress = np.array([0, 51, 102, 255]) / 255
    reward = ShapedReward(SuccessReward(), brightness(), 0.9, "bootstrap")
    success, timed_out = score(reward, [make_episode(progress, True), make_episode(progress)])
    assert success.source == "potential"
    assert success.progress.tolist() == pytest.approx([0, 0.2, 0.4, 1])
    assert success.total.tolist() == pytest.approx([0.18, 0.16, 1 - 0.4])
    assert timed_out.total.tolist() == pytest.approx([0.18, 0.16, 0.9 - 0.4])
    assert success.paid == pytest.approx(0.94)
    assert success.discounted(0.9) == pytest.approx(0.18 + 0.9 * 0.16 + 0.81 * 0.6)
    assert set(success.terms) == {"success", "shaping", "potential"}


def test_an_episode_scores_the_same_alone_and_among_others(make_episode, brightness):
    parts = [make_episode(UP[: 3 + i], bool(i % 2), stride=2) for i in range(4)]
    for reward in (
        NaiveProgressReward(brightness(stride=2)),
        NaiveProgressReward(SignalPotential(stride=2)),
    ):
        together = score(reward, parts)
        for part, whole in zip(parts, together, strict=True):
            (alone,) = score(reward, [part])
            assert np.array_equal(alone.total, whole.total)
            assert np.array_equal(alone.progress, whole.progress)


def test_rewards_that_tell_no_progress_are_scored_by_their_sum(make_episode):
    (found,) = score(EnvironmentReward(), [make_episode([0, 0.5, 1.0])])
    assert found.source == "return"
    assert found.progress.tolist() == [0, 0.5, 1.5]
    assert found.score == found.paid == 1.5


def test_what_a_reward_remembers_comes_back(make_episode):
    reward = ShapedReward(SuccessReward(), SignalPotential(), 0.9)
    before = reward.state_dict()
    score(reward, [make_episode(UP)])
    assert reward.state_dict() == before


def test_missing_parts_are_named(make_episode, brightness):
    with pytest.raises(StoreError, match="no episode"):
        rollout_of([])
    with pytest.raises(StoreError, match="speed"):
        score(NaiveProgressReward(SignalPotential("speed")), [make_episode(UP)])
    with pytest.raises(StoreError, match="wrist"):
        score(NaiveProgressReward(brightness(("wrist",))), [make_episode(UP)])
    small = make_episode(UP)
    small.frames = {view: x[:, :4, :4] for view, x in small.frames.items()}
    with pytest.raises(StoreError, match="4x4"):
        score(NaiveProgressReward(brightness()), [small])


def test_states_of_the_schedule_without_a_frame_are_refused(make_episode, brightness):
    with pytest.raises(StoreError, match="another stride"):
        rollout_of([make_episode(UP, stride=4)], brightness(stride=3).camera)


def test_an_episode_of_one_step(make_episode):
    (found,) = score(SuccessReward(), [make_episode([0, 1], True)])
    assert torch.as_tensor(found.total).tolist() == [1]
