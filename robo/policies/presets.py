"""Hyper-parameters that are known to solve a task, as one object per task.

Chosen on seeds 10 to 14; ``benchmarks/ppo_sample_efficiency.py`` reports other seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

from robo.policies.learner_config import NetworkConfig, PPOConfig


@dataclass(frozen=True)
class Preset:
    """How to train on one task, and what counts as solved."""

    task: str
    """Registry id."""
    num_envs: int
    """Environments stepped together."""
    steps: int
    """Steps of each environment per rollout."""
    total_steps: int
    """Environment steps in all; learning-rate schedules end there."""
    solved_at: float
    """Mean return of the last 50 training episodes that counts as solved."""
    network: NetworkConfig
    """Networks of actor and critic."""
    ppo: PPOConfig
    """The update."""


CARTPOLE = Preset(
    task="gym/CartPole-v1",
    num_envs=8,
    steps=64,
    total_steps=60_000,
    solved_at=475.0,
    network=NetworkConfig(hidden=(64, 64)),
    ppo=PPOConfig(
        learning_rate=1e-3,
        learning_rate_schedule="linear",
        epochs=10,
        minibatch_size=64,
        gamma=0.99,
        gae_lambda=0.95,
        max_gradient_norm=5.0,
        normalise_observation=False,
    ),
)

PENDULUM = Preset(
    task="gym/Pendulum-v1",
    num_envs=4,
    steps=256,
    total_steps=80_000,
    solved_at=-250.0,
    network=NetworkConfig(hidden=(64, 64)),
    ppo=PPOConfig(
        learning_rate=1e-3,
        epochs=10,
        minibatch_size=64,
        gamma=0.9,
        gae_lambda=0.95,
        # Returns are near -100: a critic with the usual weight takes up the whole clipped norm.
        value_coefficient=0.1,
        max_gradient_norm=5.0,
        normalise_observation=False,
    ),
)

PRESETS = {preset.task: preset for preset in (CARTPOLE, PENDULUM)}
"""Registry id to preset."""
