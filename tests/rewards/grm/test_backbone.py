from __future__ import annotations

import numpy as np
import pytest
import torch

from robo.errors import RoboError
from robo.rewards.grm.backbone import (
    NO_FRAME,
    Backbone,
    PairBatch,
    check_slots,
    eight_images,
    in_batches,
)
from robo.rewards.grm.compact_backbone import CompactBackbone
from robo.rewards.grm.prompt import IMAGES, Prompt


def pairs_of(frames, before, after, start=0, goal=1):
    count = len(before)
    return PairBatch(
        frames,
        torch.tensor(before),
        torch.tensor(after),
        torch.full((count,), start),
        torch.full((count,), goal),
        ("go",) * count,
    )


@pytest.fixture
def frames(synthetic):
    episode = synthetic.episode(3)[0]
    return {view: torch.from_numpy(image[[0, -1, 5, 9]]) for view, image in episode.frames.items()}


def test_the_eight_images_stand_in_the_published_order():
    three = eight_images(["right_wrist", "front", "left_wrist"])
    assert three == [
        ("start", "front"),
        ("goal", "front"),
        ("before", "front"),
        ("before", "left_wrist"),
        ("before", "right_wrist"),
        ("after", "front"),
        ("after", "left_wrist"),
        ("after", "right_wrist"),
    ]
    assert len(three) == IMAGES


@pytest.mark.parametrize(
    ("views", "shown"),
    [
        (["front", "wrist"], ["front", "wrist", "wrist"]),
        (["front"], ["front", "front", "front"]),
        (["front", "left_wrist"], ["front", "left_wrist", "front"]),
        (["front", "left_wrist", "wrist"], ["front", "left_wrist", "wrist"]),
    ],
)
def test_missing_views_are_filled_as_the_format_says(views, shown):
    assert [view for role, view in eight_images(views) if role == "after"] == shown


def test_without_a_front_view_there_is_no_question():
    with pytest.raises(RoboError, match="front"):
        eight_images(["wrist"])
    with pytest.raises(RoboError, match="three camera roles"):
        check_slots(("front", "wrist"))


def test_compact_hops_are_those_of_the_network(small_grm, frames):
    backbone = CompactBackbone(small_grm)
    assert isinstance(backbone, Backbone)
    found = backbone.hops(pairs_of(frames, [2, 3, 1], [3, 2, 2]))
    with torch.inference_mode():
        rows = small_grm.encode(frames)
        wanted = small_grm.hops(rows[[2, 3, 1]], rows[[3, 2, 2]], rows[0], rows[1])
    torch.testing.assert_close(found, wanted)
    cut = in_batches(backbone, pairs_of(frames, [2, 3, 1], [3, 2, 2]), 2)
    torch.testing.assert_close(cut, found)


def test_a_missing_reference_is_the_models_own(small_grm, frames):
    backbone = CompactBackbone(small_grm)
    found = backbone.hops(pairs_of(frames, [2], [3], NO_FRAME, NO_FRAME))
    with torch.inference_mode():
        rows = small_grm.encode(frames)
        wanted = small_grm.hops(rows[[2]], rows[[3]], *small_grm.reference_embeddings())
    torch.testing.assert_close(found, wanted)
    other = CompactBackbone(small_grm, own_references=True).hops(pairs_of(frames, [2], [3]))
    torch.testing.assert_close(other, wanted)


def test_bad_pairs_are_refused_in_one_sentence(small_grm, frames):
    backbone = CompactBackbone(small_grm)
    cases = [
        (pairs_of({}, [0], [0]), "without camera views"),
        (pairs_of(frames, [4], [0]), "rows 4 to 4"),
        (pairs_of(frames, [NO_FRAME], [0]), "before"),
        (pairs_of({"front": frames["front"].float()}, [0], [0]), "uint8"),
        (pairs_of({"front": frames["front"][:, :1]}, [0], [0]), "truncated"),
        (pairs_of({**frames, "side": frames["side"][:2]}, [0], [0]), "different numbers"),
    ]
    for pairs, words in cases:
        with pytest.raises(RoboError, match=words):
            backbone.hops(pairs)
    with pytest.raises(RoboError, match="looks at"):
        backbone.hops(pairs_of({"bird": frames["front"]}, [0], [1]))


def test_our_prompt_shows_eight_images_and_the_task():
    pieces = Prompt().pieces("stack the cubes <image>")
    assert len(pieces) == IMAGES + 1
    assert "stack the cubes" in pieces[0] and "<score>" in pieces[-1]
    assert [word for word in ("BEFORE", "AFTER") if word in "".join(pieces[2:8])] == [
        "BEFORE",
        "AFTER",
    ]


def test_a_prompt_file_must_have_its_places(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("Task: {task} " + "<image>" * 8)
    assert Prompt.read(path).pieces("push")[0] == "Task: push "
    path.write_text("Task: {task} " + "<image>" * 7)
    with pytest.raises(RoboError, match="7 places"):
        Prompt.read(path)
    path.write_text("<image>" * 8)
    with pytest.raises(RoboError, match="task's words"):
        Prompt.read(path)
    with pytest.raises(RoboError, match="cannot read"):
        Prompt.read(tmp_path / "none.txt")
    np.testing.assert_equal(len(Prompt.read(None).pieces("")), 9)
