from __future__ import annotations

import numpy as np
import pytest

from robo.assess.completion import completion


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (np.linspace(0, 1, 12), "success"),
        ([0.0, 0.1, 0.2, 0.3, 0.3, 0.85], "failure"),  # only the last frame looks done
        ([0.2, 0.5, 0.5, 0.5, 0.5, 0.5], "partial"),
        ([0.0, 0.1, 0.2, 0.1, 0.1, 0.1], "failure"),
        ([1.0], "success"),
        ([0.8] * 6, "partial"),
        ([0.4] * 3, "partial"),
        ([0.39] * 3, "failure"),
    ],
)
def test_the_rule_of_the_paper(progress, said):
    assert completion(progress) == said


@pytest.mark.parametrize("progress", [[], [0.5, float("nan")]])
def test_nothing_to_judge_is_refused(progress):
    with pytest.raises(ValueError, match="finite and not empty"):
        completion(progress)
