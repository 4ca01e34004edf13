from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robo.errors import RoboError
from robo.rewards.grm.anchors import NEEDS, Hops, anchored_progress, progress_of_sequence


def column(value):
    return torch.tensor([value], dtype=torch.float64)


def test_vectors_of_the_paper():
    previous = column(0.4)
    hops = Hops(column(0.25), column(0.5), column(-0.45))
    expected = {
        "backward": 0.55,
        "forward": 0.5,
        "incremental": 0.55,
        "mean": 0.53333,
        "consistent": 0.5147,
    }
    for mode, value in expected.items():
        progress, invalid = anchored_progress(mode, previous, hops)
        assert float(progress) == pytest.approx(value, abs=1e-4) and not bool(invalid)


def test_incremental_sequence():
    progress, _ = progress_of_sequence(
        "incremental", Hops(incremental=torch.tensor([0.25, 0.5, -0.4, 1 / 3]))
    )
    assert progress.tolist() == pytest.approx([0.25, 0.625, 0.375, 0.58333], abs=1e-4)


def test_mean_recurses_on_the_fused_progress():
    hops = Hops(torch.tensor([0.0, 0.5]), torch.tensor([0.0, 0.6]), torch.tensor([-0.7, -0.4]))
    progress, _ = progress_of_sequence("mean", hops)
    first = 0.3 / 3
    assert progress.tolist() == pytest.approx([first, ((first + 0.5 * (1 - first)) + 1.2) / 3])


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=1, max_size=12))
def test_every_mode_stays_in_the_unit_interval(rows):
    hops = Hops(*torch.tensor(rows, dtype=torch.float64).unbind(1))
    for mode in NEEDS:
        progress, invalid = progress_of_sequence(mode, hops)
        assert bool(((progress >= 0) & (progress <= 1)).all()) and not invalid.any()


@pytest.mark.parametrize("mode", list(NEEDS))
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_invalid_hop_keeps_the_previous_progress(mode, bad):
    good = torch.tensor([0.2, 0.3, 0.1])
    for name in NEEDS[mode]:
        parts = {"incremental": good, "forward": good, "backward": -good}
        parts[name] = parts[name].clone()
        parts[name][1] = bad
        progress, invalid = progress_of_sequence(mode, Hops(**parts))
        assert invalid.tolist() == [False, True, False]
        assert progress[1] == progress[0] > 0


def test_unknown_modes_and_missing_hops_are_refused():
    with pytest.raises(RoboError, match="sideways"):
        anchored_progress("sideways", column(0.0), Hops())
    with pytest.raises(RoboError, match="forward hops"):
        anchored_progress("mean", column(0.0), Hops(incremental=column(0.0)))
