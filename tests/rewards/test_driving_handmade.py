"""Hand-made driving rewards: one step of each by hand."""

from __future__ import annotations

import math

import pytest
import torch

from robo.rewards.config import RewardConfig, make_reward
from robo.rollout import FinalObservation, Rollout

CALM = {
    "collision": 0.0,
    "speed": 5.0,
    "heading_error": 0.0,
    "route_offset": 0.0,
    "steer": 0.0,
    "distance": 0.5,
}


def paid(kind, success=False, **signals):
    """Reward of one step with these signals."""
    one = torch.zeros(1, 1)
    end = torch.tensor([[success]])
    at = torch.zeros(int(success), dtype=torch.int64)
    rollout = Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, at, at),
        action=torch.zeros(1, 1, 2),
        log_prob=one,
        env_reward=one,
        terminated=end,
        truncated=torch.zeros_like(end),
        success=end,
        episode=torch.zeros(1, 1, dtype=torch.int64),
        episodes={},
        signals={k: torch.tensor([[float(v)]]) for k, v in {**CALM, **signals}.items()},
    ).check()
    reward = make_reward(RewardConfig(kind=kind), 0.98, "bootstrap")
    assert set(reward.signals) <= set(CALM) and reward.camera is None
    terms = reward(rollout)
    torch.testing.assert_close(torch.stack(list(terms.terms.values())).sum(0), terms.total)
    return terms.total.item()


@pytest.mark.parametrize(
    ("kind", "signals", "wanted"),
    [
        ("tirl", {}, 0.0),
        ("tirl", {"collision": 1}, -1.0),
        ("chen", {}, 5.0 - 0.1),
        ("chen", {"collision": 1}, 5.0 - 0.1 - 200),
        ("chen", {"speed": 9.0}, 9.0 - 10 - 0.1),
        ("chen", {"steer": -0.5}, 5.0 - 5 * 0.25 - 0.2 * 0.5 * 25 - 0.1),
        ("chen", {"route_offset": -2.5}, 5.0 - 1 - 0.1),
        ("chen", {"heading_error": math.pi / 3}, 2.5 - 0.1),
        ("chatscene", {}, 5.0),
        ("chatscene", {"collision": 1}, 4.0),
        ("chatscene", {"speed": 6.0}, -4.0),
        ("chatscene", {"route_offset": 3.0}, 5.0),
        ("chatscene", {"route_offset": 5.0}, 4.0),
        ("revolve", {}, 2.0),
        ("revolve", {"speed": 0.0}, -10.0 + 1.0),
        ("revolve", {"speed": 8.0, "route_offset": 1.5}, 1.0),
        ("revolve", {"collision": 1, "speed": 0.0}, -100.0),
        ("asap", {}, 0.05),
        ("asap", {"collision": 1}, -4.95),
    ],
)
def test_one_step(kind, signals, wanted):
    assert paid(kind, **signals) == pytest.approx(wanted, abs=1e-5)


def test_asap_pays_the_destination():
    assert paid("asap", success=True) == pytest.approx(1.05)
