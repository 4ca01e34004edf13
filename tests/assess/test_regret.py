"""Worst-case regret: by hand, its invariances, and what STARC says of it."""

from __future__ import annotations

import numpy as np
import pytest

from robo.assess.distances import starc
from robo.assess.order import spearman
from robo.assess.regret import worst_case_regret

GAMMA = 0.9


def made(generator, share):
    transition = generator.dirichlet(np.full(5, 0.3), (5, 2))
    gold, noise = generator.normal(size=(2, 5, 2, 5))
    potential = generator.normal(size=5)
    second = (1 - share) * gold + share * noise
    shaped = second + GAMMA * potential[None, None] - potential[:, None, None]
    return transition, gold, 3 * shaped


def test_a_choice_by_hand():
    """One state, two actions: gold pays (1, 0)."""
    transition = np.ones((1, 2, 1))
    gold = np.array([[[1.0], [0.0]]])
    assert worst_case_regret(gold, 2 * gold, transition, GAMMA) == pytest.approx(0)
    assert worst_case_regret(gold, -gold, transition, GAMMA) == pytest.approx(1)
    # A constant minds nothing: the worst policy is as good to it as the best.
    assert worst_case_regret(gold, np.ones((1, 2, 1)), transition, GAMMA) == pytest.approx(1)
    assert worst_case_regret(np.ones((1, 2, 1)), gold, transition, GAMMA) == 0


def test_shaping_and_scale_cost_nothing():
    generator = np.random.default_rng(0)
    for _ in range(5):
        transition, gold, shaped = made(generator, 0.0)
        assert worst_case_regret(gold, shaped, transition, GAMMA) == pytest.approx(0, abs=1e-7)
        assert worst_case_regret(gold, -shaped, transition, GAMMA) == pytest.approx(1)


def test_starc_ranks_random_processes_as_regret_does():
    generator = np.random.default_rng(1)
    rows = [made(generator, generator.uniform()) for _ in range(50)]
    distance = [float(starc(gold, second, t, GAMMA)) for t, gold, second in rows]
    regret = [worst_case_regret(gold, second, t, GAMMA) for t, gold, second in rows]
    assert float(spearman(distance, regret)) >= 0.5


def test_bad_input_is_named():
    gold, transition = np.zeros((2, 1, 2)), np.full((2, 1, 2), 0.5)
    with pytest.raises(ValueError, match="gamma"):
        worst_case_regret(gold, gold, transition, 1)
    with pytest.raises(ValueError, match="distribution"):
        worst_case_regret(gold, gold, 2 * transition, 0.9)
