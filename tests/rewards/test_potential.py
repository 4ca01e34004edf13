"""Potentials are held, never interpolated, and do not depend on where a rollout is cut."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.rewards.potential import (
    Potential,
    PotentialCarry,
    PotentialError,
    ProgressDifferenceReward,
    SharedPotential,
    SignalPotential,
    hold,
)
from robo.rewards.success import SuccessReward
from robo.rewards.threshold import GRMThresholdReward
from robo.rollout import CameraSchedule, FinalObservation, Frames, Rollout


def make_rollout(terminated, truncated, episode, frames=None, signal=None):
    """A rollout ``[T, N]`` with nothing but what rewards read."""
    terminated, truncated = torch.as_tensor(terminated), torch.as_tensor(truncated)
    step, env = torch.nonzero(terminated | truncated, as_tuple=True)
    zeros = torch.zeros(terminated.shape)
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, step, env),
        action=zeros[..., None],
        log_prob=zeros,
        env_reward=zeros,
        terminated=terminated,
        truncated=truncated,
        success=terminated.clone(),
        episode=torch.as_tensor(episode),
        episodes={},
        signals={} if signal is None else {"progress": signal},
        frames=frames,
    ).check()


def make_frames(*rows):
    """Frames from rows (step, env, episode, final)."""
    step, env, episode, final = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Frames({}, step, env, episode, final)


@pytest.fixture
def two_episodes():
    """One environment, four steps: episode 7 times out at step 1, episode 8 goes on."""
    frames = make_frames((0, 0, 7, False), (2, 0, 7, True), (2, 0, 8, False), (4, 0, 8, False))
    return make_rollout(
        [[False]] * 4, [[False], [True], [False], [False]], [[7], [7], [8], [8]], frames
    )


def test_values_are_held_until_the_next_row(two_episodes):
    track, carry = hold(two_episodes, torch.tensor([0.1, 0.9, 0.2, 0.6]))
    assert track.at_state[:, 0].tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.6])
    assert track.at_final.tolist() == pytest.approx([0.9])
    assert track.age[:, 0].tolist() == [0, 1, 0, 1, 0]
    assert track.age_final.tolist() == [0]
    following = track.of_next_state(two_episodes)[:, 0]
    assert following.tolist() == pytest.approx([0.1, 0.9, 0.2, 0.6])
    assert (carry.episode.tolist(), carry.age.tolist()) == ([8], [0])


def test_unknown_values_are_held_over(two_episodes):
    nan = float("nan")
    track, carry = hold(two_episodes, torch.tensor([0.1, nan, nan, nan]))
    assert track.at_state[:, 0].tolist() == pytest.approx([0.1, 0.1, 0.0, 0.0, 0.0])
    assert track.at_final.tolist() == pytest.approx([0.1])
    assert track.age_final.tolist() == [2]
    assert carry.age.tolist() == [2]


def test_the_row_at_the_seam_counts_once(two_episodes):
    _, carry = hold(two_episodes, torch.tensor([0.1, 0.9, 0.2, 0.6]))
    following = make_rollout([[False]] * 2, [[False]] * 2, [[8]] * 2, make_frames((0, 0, 8, False)))
    track, _ = hold(following, torch.tensor([0.3]), carry)
    assert track.at_state[:, 0].tolist() == pytest.approx([0.6, 0.6, 0.6])
    assert track.age[:, 0].tolist() == [0, 1, 2]


def test_an_episode_that_begins_after_the_last_step_is_carried():
    frames = make_frames((0, 0, 1, False), (1, 0, 1, True), (1, 0, 2, False))
    rollout = make_rollout([[True]], [[False]], [[1]], frames)
    track, carry = hold(rollout, torch.tensor([0.2, 0.8, 0.4]))
    assert track.at_state[:, 0].tolist() == pytest.approx([0.2, 0.4])
    assert carry.episode.tolist() == [2]
    restored = PotentialCarry.from_state_dict(carry.state_dict())
    assert restored.value.tolist() == pytest.approx([0.4])


def test_rows_of_other_episodes_are_ignored(two_episodes):
    rows = two_episodes.frames
    rows.episode[:] = 99
    track, _ = hold(two_episodes, torch.ones(4))
    assert not track.at_state.any()
    assert not track.at_final.any()


def test_hold_says_what_is_wrong(two_episodes):
    with pytest.raises(PotentialError, match="one per frame row"):
        hold(two_episodes, torch.zeros(3))
    carry = PotentialCarry(torch.zeros(2).long(), torch.zeros(2), torch.zeros(2).long())
    with pytest.raises(PotentialError, match="2 environments"):
        hold(two_episodes, torch.zeros(4), carry)
    two_episodes.frames = None
    with pytest.raises(PotentialError, match="camera schedule"):
        hold(two_episodes, torch.zeros(4))


def test_critic_features(two_episodes):
    track, _ = hold(two_episodes, torch.tensor([0.1, 0.9, 0.2, 0.6]))
    features, final = track.critic_features(stride=2)
    assert features.shape == (5, 1, 2)
    assert features[1, 0].tolist() == pytest.approx([0.1, 0.5])
    assert final[0].tolist() == pytest.approx([0.9, 0.0])


def test_signal_is_sampled_every_stride_steps_and_at_the_end():
    signal = torch.arange(1, 8).float()[:, None] / 10
    ended = torch.tensor([False, False, False, False, True, False, False])[:, None]
    episode = torch.tensor([1, 1, 1, 1, 1, 2, 2])[:, None]
    rollout = make_rollout(ended, torch.zeros_like(ended), episode, signal=signal)
    track = SignalPotential(stride=2)(rollout)
    expected = [0, 0, 0.2, 0.2, 0.4, 0, 0, 0.7]
    assert track.at_state[:, 0].tolist() == pytest.approx(expected)
    assert track.at_final.tolist() == pytest.approx([0.5])


def piece(rollout, begin, end):
    """Steps ``begin`` ... ``end - 1`` of a rollout without frames."""
    return make_rollout(
        rollout.terminated[begin:end],
        rollout.truncated[begin:end],
        rollout.episode[begin:end],
        signal=rollout.signals["progress"][begin:end],
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 29))
def test_signal_potential_does_not_depend_on_cuts(seed, stride, cut):
    generator = torch.Generator().manual_seed(seed)
    ended = torch.rand(30, 4, generator=generator) < 0.15
    before = torch.cat((torch.zeros(1, 4), ended[:-1].float())).cumsum(0)
    episode = before.long() * 4 + torch.arange(4)
    signal = torch.rand(30, 4, generator=generator)
    rollout = make_rollout(ended, torch.zeros_like(ended), episode, signal=signal)
    whole = SignalPotential(stride=stride)(rollout)
    first = SignalPotential(stride=stride)
    left = first(piece(rollout, 0, cut))
    second = SignalPotential(stride=stride)
    second.load_state_dict(first.state_dict())
    right = second(piece(rollout, cut, 30))
    for name in ("at_state", "age"):
        joined = torch.cat((getattr(left, name)[:-1], getattr(right, name)))
        assert torch.equal(joined, getattr(whole, name))
        assert torch.equal(getattr(left, name)[-1], getattr(right, name)[0])
    assert torch.equal(torch.cat((left.at_final, right.at_final)), whole.at_final)


def test_signal_potential_names_the_missing_signal(two_episodes):
    with pytest.raises(PotentialError, match="'depth'"):
        SignalPotential("depth")(two_episodes)
    with pytest.raises(PotentialError, match="stride"):
        SignalPotential(stride=0)


def test_shared_potential_is_computed_once_per_rollout(two_episodes):
    rollout = dataclasses.replace(two_episodes, signals={"progress": torch.ones(4, 1)})
    shared = SharedPotential(SignalPotential(stride=3))
    assert isinstance(shared, Potential)
    assert shared(rollout) is shared(rollout)
    assert shared(rollout) is not shared(dataclasses.replace(rollout))
    other = SharedPotential(SignalPotential(stride=3))
    other.load_state_dict(shared.state_dict())
    assert torch.equal(other(rollout).at_state, shared(dataclasses.replace(rollout)).at_state)


def test_progress_difference_has_no_terminal_rule():
    signal = torch.tensor([[0.4], [0.9]])
    rollout = make_rollout([[False], [True]], [[False]] * 2, [[1], [1]], signal=signal)
    reward = ProgressDifferenceReward(SuccessReward(), SignalPotential())
    terms = reward(rollout)
    assert terms.total[:, 0].tolist() == pytest.approx([0.4, 1.5])
    assert set(terms.terms) == {"success", "difference", "potential"}


def test_progress_difference_hands_on_what_the_critic_must_know_of_gold():
    signal = torch.tensor([[0.4], [0.97], [0.2]])
    ended = [[False], [False], [True]]
    rollout = make_rollout(ended, [[False]] * 3, [[1]] * 3, signal=signal)
    shared = SharedPotential(SignalPotential())
    reward = ProgressDifferenceReward(GRMThresholdReward(shared), shared)
    terms = reward(rollout)
    assert terms.critic_features is not None and terms.final_critic_features is not None
    assert terms.critic_features.shape[-1] == reward.critic_feature_dim == 3
    assert terms.critic_features[:3, 0, 2].tolist() == [0, 0, 1]  # paid before s_2
    assert terms.final_critic_features[:, 2].tolist() == [1]


def test_gold_and_potential_must_share_one_camera_schedule():
    gold, potential = SuccessReward(), SignalPotential()
    gold.camera, potential.camera = CameraSchedule(), CameraSchedule(stride=10)
    with pytest.raises(PotentialError, match="same schedule"):
        ProgressDifferenceReward(gold, potential)
