from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from robo.errors import RoboError, StoreError
from robo.perception.augment import AugmentConfig
from robo.rewards.grm.fit import FitConfig, fit_grm
from robo.rewards.grm.labels import LabelConfig
from robo.rewards.grm.pairs import PairConfig
from robo.rewards.grm.score import reversed_progress, score_episode, score_store, summarise
from robo.rollout import CameraSchedule

QUICK = FitConfig(iterations=3, episodes_per_step=4, rows_per_episode=4, pairs=PairConfig(pairs=64))


@pytest.fixture(scope="module")
def episodes(synthetic):
    demos = [synthetic.episode(seed, stride=4)[0] for seed in range(4)]
    return [*demos, *(synthetic.episode(50 + seed, False, stride=4)[0] for seed in range(3))]


@pytest.fixture(scope="module")
def fitted(synthetic):
    """About 15 s of one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train = [synthetic.episode(seed)[0] for seed in range(30)]
    train += [synthetic.episode(1000 + seed, False)[0] for seed in range(20)]
    config = FitConfig(
        iterations=120,
        labels=LabelConfig(horizon=24.0),
        augment=AugmentConfig(shift=1),
        pairs=PairConfig(pairs=2048),
    )
    grm, summary = fit_grm(train, config)
    torch.set_num_threads(threads)
    assert summary["loss_last"] < 0.7 * summary["loss_first"]
    return grm


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "least"), [("backward", 0.85), ("forward", 0.7), ("incremental", 0.7), ("mean", 0.85)]
)
def test_progress_of_held_out_episodes_follows_the_truth(mode, least, fitted, synthetic):
    said, true = [], []
    for seed in range(20):
        episode, truth = synthetic.episode(5000 + seed, seed % 2 == 0)
        said.append(score_episode(fitted, episode, mode).potential)
        true.append(truth)
    assert spearmanr(np.concatenate(said), np.concatenate(true)).statistic > least


@pytest.mark.slow
def test_final_progress_separates_outcomes_and_order_holds_both_ways(fitted, synthetic):
    held_out = [synthetic.episode(6000 + seed, seed % 2 == 0)[0] for seed in range(20)]
    arrays = summarise(score_store(fitted, held_out, "backward", stride=2))
    assert arrays["success"]["final"].min() > arrays["failure"]["final"].max()
    demo = held_out[0]
    backwards = reversed_progress(fitted, demo)
    forwards = score_episode(fitted, demo, "incremental").progress
    time = np.arange(len(backwards))
    assert backwards[-1] == 1.0
    assert spearmanr(time, backwards).statistic > 0.8
    assert spearmanr(time, forwards).statistic > 0.8


def test_fit_is_reproducible_and_reports_progress(episodes):
    seen = []
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, summary = fit_grm(episodes, QUICK, seen.append)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's generator is left alone
    second, _ = fit_grm(iter(episodes), QUICK)
    other, _ = fit_grm(episodes, replace(QUICK, seed=1))
    weights = [torch.cat([p.flatten() for p in grm.parameters()]) for grm in (first, second, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert [progress.iteration for progress in seen] == [1, 2, 3]
    assert summary["demonstrations"] == 4 and summary["failures"] == 3
    assert first.reference["goal"]["front"].shape == (4, 32, 32, 3)
    assert (first.task, first.instruction) == ("synthetic/Reach", "go to the blue square")


def test_references_are_unshifted_first_and_last_frames_of_demonstrations(episodes):
    grm, _ = fit_grm(episodes, QUICK)
    lasts = [episode.frames["side"][-1] for episode in episodes[:4]]
    for image in grm.reference["goal"]["side"].numpy():
        assert any(np.array_equal(image, last) for last in lasts)


def test_options_subset_of_views_front_references_time_limit_and_demos_only(episodes):
    config = replace(QUICK, views=("wrist", "front"), reference_views=("front",), iterations=500)
    grm, summary = fit_grm(episodes[:2], replace(config, minutes=0.01))
    assert grm.config.views == ("wrist", "front")
    assert 0 < summary["iterations"] < 500
    assert score_episode(grm, episodes[5]).progress.shape == (7,)


def test_unlabelled_failures_are_left_out_and_counted(episodes):
    unlabelled = replace(episodes[4], metadata={})
    _, summary = fit_grm([*episodes[:4], unlabelled], QUICK)
    assert summary["failures"] == 0 and summary["unlabelled_failures_left_out"] == 1


def test_bad_stores_are_refused_in_one_sentence(episodes):
    demo = episodes[0]
    cases = [
        ([], StoreError, "empty"),
        (episodes[4:], StoreError, "demonstrations"),
        ([replace(demo, frames={})], StoreError, "no camera frames"),
        ([demo, replace(demo, info=replace(demo.info, task="b/C"))], StoreError, "one task"),
        ([replace(demo, frames={"front": demo.frames["front"]})], RoboError, "missing"),
        ([replace(demo, frame_step=demo.frame_step + 1)], StoreError, "expected increasing"),
        ([replace(demo, frame_step=demo.frame_step[[0, -1]])], RoboError, "frame steps"),
    ]
    for given, kind, words in cases:
        with pytest.raises(kind, match=words):
            fit_grm(given, QUICK)
    with pytest.raises(RoboError, match="64x32"):
        fit_grm(episodes, replace(QUICK, height=64))
    with pytest.raises(RoboError, match="iterations"):
        FitConfig(iterations=0)
    with pytest.raises(RoboError, match=r"fit views .'top'. must be one or more of"):
        FitConfig(views=("top",))
    with pytest.raises(RoboError, match=r"camera views .'top'. must be one or more of"):
        CameraSchedule(("top",))
    with pytest.raises(StoreError, match="no camera frames"):
        grm, _ = fit_grm(episodes, QUICK)
        score_episode(grm, replace(demo, frames={}))
