"""SRPO's progress reward: the formulas' vectors, degenerate batches, invariants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from robo.rewards.srpo import SRPOError, progress_rewards, score_progress

ONE_TASK = torch.zeros(5, dtype=torch.int64)
FIRST_WON = torch.tensor([True, False, False, False, False])


def at_distances(distances: list[float], dim: int = 1408) -> torch.Tensor:
    """A success somewhere, and points at given L2 distances from it, each in its direction."""
    generator = torch.Generator().manual_seed(0)
    place = torch.randn(dim, generator=generator, dtype=torch.float64)
    away = torch.randn(len(distances), dim, generator=generator, dtype=torch.float64)
    away = away / away.norm(dim=1, keepdim=True)
    return torch.cat([place[None], place + torch.tensor(distances)[:, None].double() * away])


def test_vectors_of_both_variants():
    released = progress_rewards(at_distances([1, 2, 3, 5]), FIRST_WON, ONE_TASK, "released")
    assert_close(
        released[1:],
        torch.tensor([0.5960, 0.5545, 0.3000, 0.0040]).double(),
        atol=5e-5,
        rtol=0,
    )
    # The paper's d is the squared distance.
    paper = progress_rewards(at_distances([1, 2**0.5, 3**0.5, 5**0.5]), FIRST_WON, ONE_TASK)
    assert_close(
        paper[1:], torch.tensor([0.6124, 0.4993, 0.3663, 0.1434]).double(), atol=5e-5, rtol=0
    )
    assert paper[0] == released[0] == 1


def test_a_success_at_the_origin_is_a_reference():
    embedding = torch.zeros(5, 16)
    embedding[1:, 0] = torch.tensor([1.0, 2.0, 3.0, 5.0])
    found = progress_rewards(embedding, FIRST_WON, ONE_TASK, "released")
    assert_close(found, torch.tensor([1, 0.5960, 0.5545, 0.3, 0.0040]), atol=5e-5, rtol=0)


@pytest.mark.parametrize(("variant", "alone"), [("paper", 0.4), ("released", 0.3)])
def test_one_failure_and_equal_failures(variant, alone):
    two = at_distances([3.0])
    reward = progress_rewards(two, FIRST_WON[:2], ONE_TASK[:2], variant)
    assert_close(reward, torch.tensor([1.0, alone]).double())
    # Duplicate rollouts: no spread, the same reward, no NaN.
    doubled = torch.cat([two, two[1:], two[1:]])
    reward = progress_rewards(doubled, FIRST_WON[:4], ONE_TASK[:4], variant)
    assert_close(reward, torch.tensor([1.0, alone, alone, alone]).double())
    # Failures that repeat the success.
    same = two[:1].expand(3, -1)
    reward = progress_rewards(same, FIRST_WON[:3], ONE_TASK[:3], variant)
    assert_close(reward, torch.tensor([1.0, alone, alone]).double())


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_no_success_all_successes_and_nothing(variant):
    points = at_distances([1, 2, 3, 4]).float()
    none = progress_rewards(points, torch.zeros(5).bool(), ONE_TASK, variant)
    assert none.tolist() == [0.0] * 5
    every = progress_rewards(points, torch.ones(5).bool(), ONE_TASK, variant)
    assert every.tolist() == [1.0] * 5
    empty = progress_rewards(torch.zeros(0, 7), torch.zeros(0).bool(), ONE_TASK[:0], variant)
    assert empty.shape == (0,)


def test_tasks_are_judged_apart():
    points = torch.cat([at_distances([1, 2, 3, 5]), at_distances([4, 1])])
    won = torch.tensor([*FIRST_WON.tolist(), True, False, False])
    task = torch.tensor([3] * 5 + [8] * 3)
    whole = score_progress(points, won, task)
    assert_close(whole.reward[:5], progress_rewards(points[:5], won[:5], task[:5]))
    assert_close(whole.reward[5:], progress_rewards(points[5:], won[5:], task[5:]))
    assert whole.tasks[8].failures == 2 and whole.tasks[3].references == 1
    other = torch.cat([won[:5], torch.zeros(3).bool()])
    assert progress_rewards(points, other, task)[5:].tolist() == [0, 0, 0]


def test_empty_videos_count_nowhere():
    points = at_distances([1, 2, 3, 5])
    blank = torch.zeros(2, points.shape[1]).double()
    won = torch.tensor([*FIRST_WON.tolist(), True, False])
    task = torch.zeros(7, dtype=torch.int64)
    paper = progress_rewards(torch.cat([points, blank]), won, task)
    assert_close(paper[:5], progress_rewards(points, FIRST_WON, ONE_TASK))
    assert paper[5:].tolist() == [1.0, 0.0]
    released = progress_rewards(torch.cat([points, blank]), won, task, "released")
    assert released[5:].tolist() == [0.0, 0.0]
    # Said in so many words, even a task's only success may be empty.
    flags = torch.tensor([True, False, False, False, False])
    none = progress_rewards(points, FIRST_WON, ONE_TASK, empty=flags)
    assert none.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_references_take_the_place_of_the_batchs_successes():
    points = at_distances([1, 2, 3, 5])
    failures = points[1:]
    given = progress_rewards(
        failures, torch.zeros(4).bool(), ONE_TASK[:4], references={0: points[:1]}
    )
    assert_close(given, progress_rewards(points, FIRST_WON, ONE_TASK)[1:])
    with pytest.raises(SRPOError, match="same encoder"):
        progress_rewards(failures, torch.zeros(4).bool(), ONE_TASK[:4], references={0: points.T})


@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from(["paper", "released"]))
@settings(max_examples=25, deadline=None)
def test_any_batch_is_ordered_and_bounded(seed: int, count: int, variant):
    rng = np.random.default_rng(seed)
    points = torch.from_numpy(rng.normal(size=(count, 6)))
    won = torch.from_numpy(rng.random(count) < 0.5)
    task = torch.from_numpy(rng.integers(0, 2, count))
    found = score_progress(points, won, task, variant)
    assert bool(found.reward.isfinite().all())
    assert bool((found.reward[won] == 1).all())
    assert bool((found.reward[~won] < 0.81).all()) and bool((found.reward >= 0).all())
    for name in (0, 1):
        failed = ~won & (task == name) & found.distance.isfinite()
        order = found.distance[failed].argsort()
        assert bool((found.reward[failed][order].diff() <= 1e-12).all())
    # The order of rollouts changes nothing.
    shuffle = torch.from_numpy(rng.permutation(count))
    again = progress_rewards(points[shuffle], won[shuffle], task[shuffle], variant)
    assert_close(again, found.reward[shuffle])


def test_bad_input_is_refused():
    points = at_distances([1, 2, 3, 5])
    with pytest.raises(SRPOError, match="'paper' or 'released'"):
        progress_rewards(points, FIRST_WON, ONE_TASK, "mine")  # type: ignore[arg-type]
    with pytest.raises(SRPOError, match="one per embedding"):
        progress_rewards(points, FIRST_WON[:3], ONE_TASK)
    with pytest.raises(SRPOError, match=r"\[E, D\]"):
        progress_rewards(points[0], FIRST_WON, ONE_TASK)
    with pytest.raises(SRPOError, match="NaN or infinity"):
        progress_rewards(points.log(), FIRST_WON, ONE_TASK)
