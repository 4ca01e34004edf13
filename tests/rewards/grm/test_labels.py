from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robo.errors import StoreError
from robo.rewards.grm.labels import LabelConfig, Labeller, boundaries


@pytest.fixture
def demo(synthetic):
    return replace(synthetic.episode(0)[0], keyframes={"grasp": 9, "lift": 15})


@pytest.fixture
def failure(synthetic):
    return synthetic.episode(1, success=False)[0]


def test_demonstration_rises_by_a_third_per_subtask(demo):
    label = Labeller(3, horizon=18.0)(demo)
    assert label.shape == (25,) and label.dtype == np.float32
    assert label[[9, 15, 24]] == pytest.approx([1 / 3, 2 / 3, 1])
    assert label[0] == pytest.approx((1 - 9 / 18) / 3)  # half the horizon before the keyframe
    assert (np.diff(label) > 0).all()


def test_far_start_counts_zero_and_linear_labels_start_at_zero(demo):
    assert Labeller(3, horizon=4.0)(demo)[:6].tolist() == [0.0] * 6
    label = Labeller(3, 18.0, "linear")(demo)
    assert label[:10] == pytest.approx(np.arange(10) / 27)


def test_horizon_is_the_median_first_keyframe(demo):
    demos = [replace(demo, keyframes={"grasp": at, "lift": 20}) for at in (4, 8, 18)]
    labeller = Labeller.of(demos)
    assert labeller.horizon == 8.0 and labeller.subtasks == 3
    assert Labeller.of(demos, LabelConfig(horizon=30)).horizon == 30


def test_without_keyframes_the_episode_is_one_subtask(synthetic):
    label = Labeller.of([synthetic.episode(0)[0]])(synthetic.episode(0)[0])
    assert label == pytest.approx(np.arange(25) / 24)


def test_failure_reaches_its_ceiling_and_stays(failure):
    failure = replace(failure, metadata={"progress_ceiling": 0.12, "closest": 10})
    label = Labeller(3, horizon=18.0)(failure)
    assert label[0] == pytest.approx(min(0.12, (1 - 10 / 18) / 3))
    assert (np.diff(label) >= 0).all() and label.max() == pytest.approx(0.12)
    assert label[10:] == pytest.approx(0.12)


def test_failure_with_a_grasp_jumps_to_a_ceiling_beyond_the_reach(failure):
    failure = replace(failure, metadata={"progress_ceiling": 0.5}, keyframes={"grasp": 12})
    label = Labeller(3, horizon=12.0)(failure)
    assert label[11] < 1 / 3 and label[12:] == pytest.approx(0.5)


def test_failure_after_some_subtasks_is_a_demonstration_up_to_there(demo, failure):
    done = {"progress_ceiling": 2 / 3, "subtask_ends": [9, 15]}
    labeller = Labeller(3, horizon=18.0)
    label = labeller(replace(failure, metadata=done))
    assert label[:16] == pytest.approx(labeller(demo)[:16])
    assert label[15:] == pytest.approx(2 / 3)
    for ends in ([9, 9], [0, 5], [9, 25], [3, 6, 9]):
        with pytest.raises(StoreError, match="subtask_ends"):
            labeller(replace(failure, metadata={**done, "subtask_ends": ends}))


def test_failure_without_a_place_rises_at_the_pace_of_the_demonstrations(failure):
    failure = replace(failure, metadata={"progress_ceiling": 0.3})
    label = Labeller(3, horizon=10.0)(failure)
    assert label[0] == 0 and label[5] == pytest.approx(0.5 / 3)
    assert label[10:] == pytest.approx(0.3)
    assert not Labeller(3, 10.0)(replace(failure, metadata={"progress_ceiling": 0.0})).any()


def test_labels_are_taken_at_frame_steps(synthetic):
    episode = synthetic.episode(3, stride=5)[0]
    labeller = Labeller(1, 24.0)
    assert episode.frame_step.tolist() == [0, 5, 10, 15, 20, 24]
    assert labeller.at_frames(episode) == pytest.approx(labeller(episode)[episode.frame_step])


@pytest.mark.parametrize("keyframes", [{"a": 0}, {"a": 9, "b": 9}, {"a": 12, "b": 3}, {"a": 24}])
def test_keyframes_must_increase_inside_the_episode(demo, keyframes):
    with pytest.raises(StoreError, match="increase strictly"):
        boundaries(replace(demo, keyframes=keyframes))


def test_bad_stores_are_refused(demo, failure):
    with pytest.raises(StoreError, match="demonstrations first"):
        Labeller.of([failure])
    with pytest.raises(StoreError, match="different numbers"):
        Labeller.of([demo, replace(demo, keyframes={})])
    with pytest.raises(StoreError, match="progress_ceiling"):
        Labeller(3, 18.0)(replace(failure, metadata={"progress_ceiling": 1.5}))
    with pytest.raises(StoreError, match="horizon"):
        Labeller.of([demo], LabelConfig(horizon=0.0))
