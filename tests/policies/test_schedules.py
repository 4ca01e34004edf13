"""The learning rate: scaling with the minibatch, and its course."""

from __future__ import annotations

import pytest

from robo.errors import RoboError
from robo.policies.learner_config import PPOConfig
from robo.policies.presets import CARL_PRESETS
from robo.policies.schedules import EVENTS, LearningRate


@pytest.mark.parametrize(("rule", "factor"), [("none", 1.0), ("linear", 16.0), ("sqrt", 4.0)])
def test_the_rate_grows_with_the_minibatch(rule, factor):
    config = PPOConfig(learning_rate=1e-4, minibatch_size=4096, learning_rate_scaling=rule)
    assert LearningRate(config)(0.3) == pytest.approx(factor * 1e-4)


def test_linear_falls_to_nothing():
    rate = LearningRate(PPOConfig(learning_rate=1e-3, learning_rate_schedule="linear"))
    assert [rate(left) for left in (1.0, 0.25, 0.0)] == pytest.approx([1e-3, 2.5e-4, 0.0])


def test_kl_adaptive_halves_at_the_eighth_stop_and_resumes():
    config = PPOConfig(learning_rate=1e-3, learning_rate_schedule="kl_adaptive", target_kl=0.015)
    rate = LearningRate(config)
    for event in range(EVENTS - 1):
        rate.after(stopped=False)
        rate.after(stopped=True)
        assert rate(1.0) == 1e-3, event
    resumed = LearningRate(config)
    resumed.load_state_dict(rate.state_dict())
    for each in (rate, resumed):
        each.after(stopped=True)
        assert each(0.0) == pytest.approx(5e-4)
        assert each.events == 0
    with pytest.raises(RoboError, match="needs a target_kl"):
        PPOConfig(learning_rate_schedule="kl_adaptive")


def test_carls_preset_is_the_published_table():
    carl = CARL_PRESETS["carl"]
    assert carl.num_envs * carl.steps == 65_536
    assert carl.ppo.minibatch_size * 4 == 65_536
    assert carl.ppo.epochs == 3
    tiny = CARL_PRESETS["carl_tiny"]
    assert (tiny.num_envs * tiny.steps, tiny.ppo.minibatch_size) == (4096, 1024)
    assert carl.ppo.timeout == tiny.ppo.timeout == "keep"
