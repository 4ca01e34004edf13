"""The Goodhart gap: hand-made curves, and a run's own events."""

from __future__ import annotations

import numpy as np
import pytest
from torch.utils.tensorboard.writer import SummaryWriter

from robo.assess.goodhart import gap_of_run, goodhart_gap
from robo.errors import RoboError
from robo.policies.ppo import PPOConfig
from robo.policies.train_config import TrainConfig
from robo.policies.trainer import make_trainer
from robo.rewards.config import RewardConfig


def test_a_hacked_run_by_hand():
    found = goodhart_gap([0, 10, 20, 30, 40], [0, 1, 2, 3, 4], [0, 0.5, 0.8, 0.78, 0.3])
    assert (found.peak_gold, found.peak_step, found.final_gold) == (0.8, 20, 0.3)
    assert found.drop == pytest.approx(0.5)
    assert found.divergence_step == 40  # 0.78 is within the tolerance
    assert found.gap[-1] == found.gap.max() and found.gap.mean() == pytest.approx(0)


def test_divergence_must_last_to_the_end():
    recovered = goodhart_gap([0, 1, 2, 3], [0, 1, 2, 3], [0, 0.9, 0.2, 0.9])
    assert recovered.divergence_step is None
    twice = goodhart_gap([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [0, 0.9, 0.2, 0.9, 0.1, 0.1])
    assert twice.divergence_step == 4


def test_honest_and_constant_runs():
    honest = goodhart_gap([1, 2, 3], [0, 5, 9], [0, 0.5, 0.9])
    assert honest.divergence_step is None and honest.drop == 0
    assert np.abs(honest.gap).max() < 0.1
    assert goodhart_gap([1, 2], [3, 3], [0.5, 0.5]).gap.tolist() == [0, 0]
    # Gold fell, but so did the reward: a collapse, no hack.
    assert goodhart_gap([1, 2, 3], [0, 5, 1], [0, 0.9, 0.1]).divergence_step is None


def test_a_run_is_read_from_its_events(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step, reward, gold in ((10, 0.0, 0.0), (20, 1.0, 0.9), (30, 2.0, 0.1)):
            writer.add_scalar("episode/reward_return", reward, step)
            writer.add_scalar("episode/success", gold, step)
    found = gap_of_run(tmp_path)
    assert found.divergence_step == 30 and found.peak_step == 20
    with pytest.raises(RoboError, match="no scalars"):
        gap_of_run(tmp_path, reward="nothing")


def test_a_curve_that_is_not_finite_is_one_sentence(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step, reward in ((10, 0.0), (20, float("inf"))):
            writer.add_scalar("episode/reward_return", reward, step)
            writer.add_scalar("episode/success", 0.5, step)
    with pytest.raises(RoboError, match="not finite"):
        gap_of_run(tmp_path)


def test_a_real_run_is_read_by_the_reward_that_it_learned_from(tmp_path):
    """Trained on naive progress: the environment's own return is another curve."""
    seen = []
    config = TrainConfig(
        task="mujoco/Reach",
        num_envs=4,
        steps_per_rollout=30,  # an episode of 50 steps goes over two rollouts
        total_steps=4 * 30 * 8,
        reward=RewardConfig(kind="composed", composed="naive:progress"),
        ppo=PPOConfig(epochs=1, minibatch_size=120),
        backend="in_process",
        evaluate_every_steps=0,
    )
    trainer = make_trainer(config, tmp_path, [seen.append], show=False)
    try:
        trainer.run()
    finally:
        trainer.close()
    paid = {}
    for iteration in seen:
        for ids, total in zip(iteration.rollout.episode, iteration.terms.total, strict=True):
            for episode, value in zip(ids.tolist(), total.tolist(), strict=True):
                paid[episode] = paid.get(episode, 0.0) + value
    ended = [i for s in seen for i in s.rollout.episode[s.rollout.done].tolist()]
    last = seen[-1].metrics
    assert len(ended) > 4
    assert last["episode/reward_return"] == pytest.approx(np.mean([paid[i] for i in ended]))
    assert last["episode/reward_return"] > last["episode/return"] + 1
    gap = gap_of_run(tmp_path / "metrics")
    learned = [s.metrics["episode/reward_return"] for s in seen if "episode/return" in s.metrics]
    success = [s.metrics["episode/success"] for s in seen if "episode/return" in s.metrics]
    expected = goodhart_gap(range(len(learned)), learned, success)
    assert gap.gap == pytest.approx(expected.gap, abs=1e-4) and np.abs(gap.gap).max() > 0.1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="two or more"):
        goodhart_gap([1], [1], [1])
    with pytest.raises(ValueError, match="rise"):
        goodhart_gap([1, 1], [1, 2], [1, 2])
    with pytest.raises(ValueError, match="finite"):
        goodhart_gap([1, 2], [1, float("nan")], [1, 2])
