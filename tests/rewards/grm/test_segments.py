from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from robo.errors import StoreError
from robo.rewards.grm.segments import (
    Segment,
    gripper_events,
    propose_segments,
    read_segments,
    segments_of,
    stops,
    with_segments,
    write_segments,
)


def with_actions(synthetic, action):
    episode = synthetic.episode(0, steps=len(action))[0]
    return replace(episode, action=np.asarray(action, np.float32))


@pytest.fixture
def grasp(synthetic):
    """Reach for 30 steps, stand still for 10 while the fingers close, lift for 20."""
    rng = np.random.default_rng(0)
    action = rng.normal(0, 0.02, (60, 4))
    action[:30, 0] += 1
    action[40:, 2] += 1
    action[:33, -1] = 1
    action[33:, -1] = -1
    action[10, -1] = -1  # noise of one step
    return with_actions(synthetic, action)


def test_gripper_events_and_stops_are_found(grasp):
    assert gripper_events(grasp) == [33]
    (stop,) = stops(grasp)
    assert 31 <= stop <= 38


def test_proposals_cover_the_episode_and_merge_what_is_near(grasp):
    segments = propose_segments(grasp)
    assert next((s.start, s.end) for s in segments) == (0, 33)
    assert segments[0].annotation == "until gripper event"
    assert segments[-1].end == 60
    assert all(a.end == b.start for a, b in itertools.pairwise(segments))
    assert len(propose_segments(grasp, most=1)) == 1


def test_episodes_without_a_gripper_or_motion_are_one_segment(synthetic):
    still = with_actions(synthetic, np.zeros((20, 1)))
    assert propose_segments(still) == [Segment("until end", 0, 20)]
    with pytest.raises(StoreError, match="no subtasks"):
        propose_segments(with_actions(synthetic, np.zeros((1, 2))))


def test_the_published_file_is_read_and_written(grasp, tmp_path):
    path = tmp_path / "annotated_keyframes.json"
    assert read_segments(path, 61) == [Segment("", 0, 60)]
    write_segments(path, propose_segments(grasp))
    listed = json.loads(path.read_text())
    assert set(listed[0]) == {"annotation", "start_frame_id", "end_frame_id"}
    assert read_segments(path, 61) == propose_segments(grasp)
    # The released files misspell the key, and let segments start one frame later.
    path.write_text(
        json.dumps(
            [
                {"anotation": "reach", "start_frame_id": 0, "end_frame_id": 30},
                {"anotation": "lift", "start_frame_id": 31, "end_frame_id": 60},
            ]
        )
    )
    marked = with_segments(grasp, read_segments(path, 61))
    assert marked.keyframes == {"subtask 1": 30}
    assert [(s.start, s.end) for s in segments_of(marked)] == [(0, 30), (30, 60)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "no keyframes"),
        ("[]", "no segment"),
        ('[{"start_frame_id": 1, "end_frame_id": 60}]', "expected 0"),
        ('[{"start_frame_id": 0, "end_frame_id": 59}]', "last state is 60"),
        ('[{"start_frame_id": 0, "end_frame_id": 0}]', "is empty"),
        (
            '[{"start_frame_id": 0, "end_frame_id": 20},'
            '{"start_frame_id": 25, "end_frame_id": 60}]',
            "make them meet",
        ),
        ('[{"start_frame_id": 0}]', "no keyframes"),
    ],
)
def test_bad_files_are_one_sentence(content, words, tmp_path):
    path = tmp_path / "keyframes.json"
    path.write_text(content)
    with pytest.raises(StoreError, match=words):
        read_segments(path, 61)
