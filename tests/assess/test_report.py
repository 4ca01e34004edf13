"""Figures of rewards on the same episodes, with intervals and with reasons where undefined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from robo.assess.figures import Resampling, figure
from robo.assess.probes import ProbeOptions
from robo.assess.report import AssessOptions, assess_reward, assess_rewards, chosen, language
from robo.errors import RoboError
from robo.rewards.naive import NaiveProgressReward
from robo.rewards.potential import SignalPotential
from robo.rewards.shaping import ShapedReward
from robo.rewards.success import Memoryless, SuccessReward
from robo.rollout import RewardTerms

FEW = AssessOptions(truth="progress", resampling=Resampling(resamples=40))


@pytest.fixture
def noisy(make_episode):
    """Progress that wavers; failures reach less far, with some overlap."""
    generator = np.random.default_rng(0)
    found = []
    for i in range(16):
        top = 1.0 if i % 2 else generator.uniform(0.3, 0.9)
        curve = np.clip(np.linspace(0, top, 21) + generator.normal(0, 0.05, 21), 0, 1)
        found.append(make_episode(curve, bool(i % 2), actor=f"actor {i % 4}"))
    return found


def voc_backwards(episode):
    """Spearman with time of true progress played backwards, sign turned.

    Of the last state first; that of s_0, which comes last, is not stored and counts as s_1's.
    """
    known = np.asarray(episode.signals["progress"], np.float64)
    return -spearmanr(np.append([0.0], [*known[::-1][1:], known[0]]), np.arange(21))[0]


def shaped():
    return ShapedReward(SuccessReward(), SignalPotential(), 0.99)


def test_figures_of_true_progress(noisy):
    result, scored = assess_reward(shaped(), noisy, FEW)
    figures = result["figures"]
    assert figures["progress_mae"].value == pytest.approx(0, abs=1e-6)
    assert figures["kendall_tau_b"].value == pytest.approx(1)
    assert figures["ranking_accuracy"].value == 1
    score, success = [s.score for s in scored], [e.success for e in noisy]
    assert figures["auc"].value == pytest.approx(roc_auc_score(success, score))
    # A signal is not known in the first state, which counts 0: backwards that is the best one.
    assert figures["voc_plus"].value > 0.9 and figures["voc_minus"].value > 0.6
    assert figures["voc_minus_failures"].episodes == 8
    assert figures["voc_minus_failures"].value == pytest.approx(
        np.mean([voc_backwards(e) for e in noisy if not e.success])
    )
    assert figures["mmrv"].value is not None and 0 <= figures["brier"].value < 0.4
    for found in figures.values():
        assert found.low is None or found.low <= found.value <= found.high
    assert figures["auc"].episodes == 16 and figures["voc_plus"].episodes == 8
    assert result["caught"] == [] and result["progress_source"] == "potential"


def test_what_is_undefined_says_why(episodes):
    alone = assess_reward(SuccessReward(), episodes[:2], FEW)[0]["figures"]
    assert alone["auc"].value is None and "failures" in alone["auc"].note
    assert alone["voc_failures"].note == "there is no failure"
    assert "no probability" in alone["brier"].note
    assert "fewer than two" in alone["mmrv"].note
    failures = assess_reward(SuccessReward(), episodes[5:], FEW)[0]
    assert failures["probes"] == [] and failures["threshold"] is None
    assert failures["figures"]["voc_plus"].value is None


class Broken(Memoryless):
    """NaN on the first episode."""

    def __call__(self, rollout):
        paid = torch.where(
            rollout.episode == rollout.episode.min(), torch.nan, rollout.success.float()
        )
        return RewardTerms(paid, {"paid": paid})


def test_scores_that_are_not_finite_count_nowhere_and_are_told(episodes):
    result, _ = assess_reward(Broken(), episodes, FEW)
    assert result["invalid_scores"] == 1
    assert result["figures"]["auc"].value == 1 and result["figures"]["auc"].episodes == 9


def test_one_frame_episodes(make_episode):
    short = [make_episode([0, 1], True), make_episode([0, 0.5])]
    figures = assess_reward(shaped(), short, FEW)[0]["figures"]
    assert figures["auc"].value == 1 and figures["monotonicity"].value == 1


def test_intervals_cover_the_mean_of_a_known_distribution():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        values = generator.normal(0, 1, 30)
        found = figure(lambda i, v=values: v[i].mean(), np.arange(30), Resampling(200))
        covered += found.low < 0 < found.high
    assert 50 <= covered <= 60


def test_an_interval_stands_where_few_resamples_are_infinite():
    def now_and_then(share):
        generator = np.random.default_rng(0)

        def statistic(rows):
            whole = np.array_equal(rows, np.arange(30))
            return float(rows.mean()) if whole or generator.random() > share else np.inf

        return figure(statistic, np.arange(30), Resampling(200))

    few, most = now_and_then(0.1), now_and_then(0.9)
    assert few.low is not None and 8 < few.low < few.value < few.high < 21
    assert most.value == few.value and most.low is most.high is None


def test_rewards_side_by_side(noisy):
    rewards = {
        "shaped": shaped(),
        "naive": NaiveProgressReward(SignalPotential()),
        "success": SuccessReward(),
        "speed": NaiveProgressReward(SignalPotential("speed")),
    }
    result = assess_rewards(rewards, noisy, FEW)
    assert "speed" in result["rewards"]["speed"]["refused"]
    assert result["rewards"]["naive"]["caught"] == ["loop_income", "idle_income"]
    distance = result["return_distance"]["matrix"]
    assert result["return_distance"]["names"] == ["shaped", "naive", "success"]
    assert np.allclose(distance, distance.T) and (np.diag(distance) == 0).all()
    assert distance.max() <= 1
    assert result["actors"] == {f"actor {i}": 4 for i in range(4)}
    with pytest.raises(RoboError, match="speed"):
        assess_rewards({"speed": rewards["speed"]}, noisy, FEW)


class Listens(Memoryless):
    """Pays at the end for progress on what it was told to do."""

    def __call__(self, rollout):
        paid = torch.zeros(rollout.shape)
        for step, env in rollout.done.nonzero().tolist():
            info = rollout.episodes[int(rollout.episode[step, env])]
            paid[step, env] = float(info.instruction in info.task)
        return RewardTerms(paid, {"paid": paid})


def test_language_confusion_of_stored_episodes(make_episode):
    up = np.linspace(0, 1, 5)
    told = [make_episode(up, True, instruction=text) for text in ("open", "lift", "push")]
    heard = language(Listens(), told)
    assert heard["instructions"] == ["lift", "open", "push"]
    assert heard["accuracy"] == 1 and heard["margin"] == 1
    # One episode each: every resample is the same.
    assert heard["intervals"]["accuracy"] == [1, 1] and heard["intervals"]["margin"] == [1, 1]
    assert heard["intervals"]["row_margin"] == [[1, 1]] * 3
    assert language(Listens(), told, Resampling(0))["intervals"] is None
    assert np.array_equal(heard["matrix"], np.eye(3))
    deaf = language(SuccessReward(), told)
    assert deaf["accuracy"] == pytest.approx(1 / 3) and deaf["margin"] == 0
    assert language(SuccessReward(), told[:1]) is None


class Unsure(Listens):
    """The same, and NaN where an episode is of the task "lift"."""

    def __call__(self, rollout):
        found = super().__call__(rollout)
        for step, env in rollout.done.nonzero().tolist():
            if rollout.signals["progress"][step, env] < 0.6:
                found.total[step, env] = torch.nan
        return found


def test_language_scores_that_are_not_finite_are_told(make_episode):
    told = [make_episode(np.linspace(0, top, 5), True, instruction=t) for top, t in
            ((1, "open"), (0.5, "lift"))]  # fmt: skip
    assert "not finite" in language(Unsure(), told)["note"]


def test_a_limit_takes_successes_and_failures(episodes):
    assert [e.success for e in chosen(episodes, 4)] == [True, True, False, False]
    assert len(chosen(episodes, 100)) == len(chosen(episodes, None)) == 10
    assert len(chosen(episodes[:6], 4)) == 4


def test_probe_options_are_used(episodes):
    options = AssessOptions(probes=ProbeOptions(gamma=0.5, idle_steps=8), resampling=Resampling(0))
    result, _ = assess_reward(NaiveProgressReward(SignalPotential()), episodes, options)
    idle = next(p for p in result["probes"] if p.name == "idle_income")
    # With so short a sight, finishing (0.85 + 0.9 / 2 + ...) beats 0.8 / (1 - 0.5).
    assert idle.preferred == 0 and idle.income > 0


def test_a_reward_that_compares_episodes_is_probed_among_successes(episodes):
    from robo.perception.video import load_video_encoder
    from robo.rewards.srpo_config import SRPOConfig
    from robo.rewards.srpo_reward import SRPOReward

    config = SRPOConfig(size=8)
    encoder = load_video_encoder("pixels", config.views, "cpu")
    reward = SRPOReward(encoder, config, stride=1)
    result, _ = assess_reward(reward, episodes, FEW)
    assert result["figures"]["auc"].value == 1 and result["threshold"] == 1
    assert result["caught"] == []
    # A failure is paid 0.8 at most, so that no picture can pass for a success, who pays 1.
    for probe in result["probes"]:
        income = probe.name.endswith("_income")
        assert probe.applies == income and probe.fooled is None
        if probe.name in ("time_reversed", "near_miss", "blank_camera"):
            assert "cannot reach the threshold" in probe.note
    distances = assess_rewards({"srpo": reward, "success": SuccessReward()}, episodes, FEW)
    assert distances["return_distance"]["names"] == ["srpo", "success"]
