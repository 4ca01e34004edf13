"""Hyper-parameters that are known to solve a task, as one object per task.

Those of ``PRESETS`` were chosen on seeds 10 to 14; ``benchmarks/ppo_sample_efficiency.py``
reports other seeds. Those of ``CARL_PRESETS`` are CaRL's own (arXiv 2504.17838; its published
training scripts), and a version of them for one CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

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
    """Mean return of the last 50 training episodes that counts as solved; infinite where the task
    is scored otherwise."""
    network: NetworkConfig
    """Networks of actor and critic."""
    ppo: PPOConfig
    """The update."""
    options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """The simulator's own options."""


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

_CARL_PPO = PPOConfig(
    learning_rate=2.5e-4,
    learning_rate_schedule="linear",
    epochs=3,
    minibatch_size=16_384,
    chunk_size=2048,
    gamma=0.99,
    gae_lambda=0.95,
    clip_range=0.1,
    value_clip=0.1,
    value_coefficient=0.5,
    entropy_coefficient=0.01,
    max_gradient_norm=0.5,
    normalise_advantage=True,
    normalise_observation=False,
    adam_epsilon=1e-5,
)

_CARL_OPTIONS: dict[str, bool | int | float | str] = {
    "traffic_manager": True,
    "rendering": False,  # the bird's-eye view comes from the map: no graphics card is needed
    "time_limit": 1200.0,
    "route_min_length": 900.0,
    "route_max_length": 1100.0,
}
"""CaRL's episodes: routes of about 1000 m, 20 minutes for each, traffic by the TrafficManager."""

CARL = Preset(
    task="carla/Town01",
    num_envs=128,
    steps=512,
    total_steps=300_000_000,
    solved_at=math.inf,
    network=NetworkConfig(kind="carl", distribution="beta", precision="bfloat16"),
    ppo=replace(_CARL_PPO, timeout="keep"),  # every end is one, as in CaRL
    options=_CARL_OPTIONS,
)
"""CaRL v1.0: 65,536 steps per update, over all ranks (8 GPUs of 16 environments each).

All environments drive one town, where CaRL's are spread over eight.
"""

CARL_TINY = Preset(
    task="carla/Town01",
    num_envs=8,
    steps=512,
    total_steps=10_000_000,
    solved_at=math.inf,
    network=NetworkConfig(kind="carl", distribution="beta", precision="bfloat16"),
    ppo=replace(_CARL_PPO, minibatch_size=1024, chunk_size=512, timeout="keep"),
    options=_CARL_OPTIONS,
)
"""CaRL's ablations: 4,096 steps per update on one GPU; one town, where CaRL drives eight."""

CARL_SMOKE = Preset(
    task="carla-standin/All",
    num_envs=8,
    steps=512,
    total_steps=450_000,
    solved_at=math.inf,
    network=NetworkConfig(
        kind="carl_grid",
        distribution="beta",
        precision="bfloat16",
        initial_action=(0.0, 0.35),  # it rolls from the start, in place of finding that out
    ),
    ppo=replace(
        _CARL_PPO,
        learning_rate=3.5e-4,
        minibatch_size=256,
        chunk_size=256,
        gamma=0.995,  # waiting at a light takes 10 s and more
        clip_range=0.2,
        value_clip=None,
        # Actor and critic share the convolutions: with CaRL's 0.5 the value's gradient is some
        # fifty times the policy's there.
        value_coefficient=0.02,
        # CaRL's 0.01 keeps the wheel shaking: routes end before their end is ever learned from.
        entropy_coefficient=0.001,
        # Noise alone is slow to find out that one can stop; with Roach's 0.05 over 10 s it creeps.
        exploration_coefficient=0.02,
        exploration_steps=30,
    ),
    options={
        "birdseye_size": 64,
        "pixels_per_metre": 1.0,
        "metres_behind": 14.0,
        "route_outside_junctions": True,
        "route_min_length": 150.0,
        "route_max_length": 300.0,
        "green_time": 6.0,
        "red_time": 1.0,
        "time_limit": 150.0,
    },
)
"""The small network on 64x64 pixels, for minutes on a CPU; not CaRL's numbers."""

CARL_PRESETS = {"carl": CARL, "carl_tiny": CARL_TINY, "carl_smoke": CARL_SMOKE}
"""Name to preset of the driving runs."""
