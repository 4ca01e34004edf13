"""The language confusion matrix, read by row."""

from __future__ import annotations

import numpy as np
import pytest

from robo.assess.language import language_confusion


def test_rows_by_hand():
    found = language_confusion([[0.9, 0.1, 0.2], [0.8, 0.8, 0.3], [0.5, 0.6, 0.4]])
    assert found.row_correct.tolist() == [1, 0.5, 0]
    assert found.row_margin.tolist() == pytest.approx([0.7, 0.0, -0.2])
    assert found.accuracy == pytest.approx(0.5)
    assert found.margin == pytest.approx(0.5 / 3)


def test_a_reward_deaf_to_language_is_at_chance():
    found = language_confusion(np.tile([0.2, 0.9, 0.5, 0.4], (4, 1)))
    assert found.accuracy == 0.25
    assert language_confusion(np.ones((4, 4))).accuracy == 0.25


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="two or more"):
        language_confusion([[1.0]])
    with pytest.raises(ValueError, match="two or more"):
        language_confusion([[1.0, 2.0]])
    with pytest.raises(ValueError, match="not finite"):
        language_confusion([[1.0, float("nan")], [0.0, 1.0]])
