"""``robo score`` on a real store with a GRM fitted for a moment."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from robo.commands.score import Score, assess_episodes, kinds_of, true_progress
from robo.data import EpisodeStore
from robo.errors import RoboError, StoreError
from robo.rewards.grm.compact import CompactGRM

FIGURES = {"voc_plus", "voc_minus", "voc_failures", "spearman_true", "difference_correlation_true"}


def test_every_figure_is_there_and_in_its_range(lift_grm, lift_run, capsys):
    result = Score(lift_grm, lift_run, truth="progress").run()
    assert (result["episodes"], result["successes"], result["failures"]) == (5, 3, 2)
    assert result["invalid_rows"] == 0 and result["lengths_matched"]
    for name in FIGURES:
        assert -1 <= result[name] <= 1, name
    assert 0 <= result["auc"] <= 1 and 0 <= result["false_positive_rate"] <= 1
    assert set(result["auc_by_kind"]) == {"beside", "hover"}
    # All successes meet each failure once, so that the mean over kinds of one is the whole.
    assert np.mean(list(result["auc_by_kind"].values())) == pytest.approx(result["auc"])
    assert "voc_plus" in capsys.readouterr().err
    assert Score(lift_grm, lift_run, truth="progress").run() == result


@pytest.mark.parametrize("mode", ["forward", "incremental", "mean", "consistent"])
def test_other_anchors(lift_grm, lift_run, mode):
    result = Score(lift_grm, lift_run, mode=mode, stride=10, difference=20).run()
    assert result["mode"] == mode and "spearman_true" not in result


def test_successes_only_and_failures_only(lift_grm, lift_run):
    grm = CompactGRM.load(lift_grm)
    with EpisodeStore(lift_run / "episodes", mode="r") as store:
        episodes = list(store)
    assert kinds_of(episodes)[3:] == ["beside", "hover"]
    config = Score(lift_grm, lift_run)
    won = assess_episodes(config, grm, [e for e in episodes if e.success])
    lost = assess_episodes(config, grm, [e for e in episodes if not e.success])
    assert "voc_plus" in won and not {"auc", "voc_failures"} & set(won)
    assert "voc_failures" in lost and not {"auc", "voc_plus", "voc_minus"} & set(lost)
    with pytest.raises(StoreError, match="no episode"):
        assess_episodes(config, grm, [])


def test_what_cannot_be_scored_is_refused(lift_grm, lift_run, tmp_path):
    with pytest.raises(RoboError, match="multiple of stride"):
        Score(lift_grm, lift_run, stride=5, difference=7)
    with pytest.raises(RoboError, match="grm"):
        Score(tmp_path, lift_run).run()
    with pytest.raises(StoreError, match="there is no episode store"):
        Score(lift_grm, tmp_path).run()
    with pytest.raises(StoreError, match="'truth' is not stored"):
        Score(lift_grm, lift_run, truth="truth").run()
    grm = CompactGRM.load(lift_grm)
    with EpisodeStore(lift_run / "episodes", mode="r") as store:
        blind = dataclasses.replace(store[0], frames={}, frame_step=None)
    with pytest.raises(StoreError, match="no camera frames"):
        assess_episodes(Score(lift_grm, lift_run), grm, [blind])
    with pytest.raises(StoreError, match="is not stored"):
        true_progress("height", [blind])
