"""PPO's update on birdseye images: CaRL's network beside a plain PyTorch loop and its own limit.

1,024 transitions, minibatches of 256, one epoch: values of all states, then forward and backward
of each minibatch. The plain loop is eager float32 in PyTorch's default layout. The twin is our own
learner, eager, in float32 as the format has it: a GPU otherwise rounds what enters its convolutions
to TensorFloat-32, which the plain loop is left to do as PyTorch does by default. The limit is the
time of the convolutions alone for the same passes, each in the fastest of two precisions and two
layouts on this machine. Updates of all sides take turns; figures are medians.

    python benchmarks/carl_network.py --out benchmarks/results/carl_network.json
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
import tyro
from _ppo_carl import ACTIONS, CRITIC_STATE, STATE, PlainLoop, convolution_limit, timed
from _study import machine, publish

from robo.policies.learner_config import NetworkConfig, PPOConfig
from robo.policies.policy_files import make_policy
from robo.policies.ppo import PPO
from robo.policies.threads import set_threads
from robo.precision import multiplies_bfloat16
from robo.rollout import EpisodeInfo, FinalObservation, RewardTerms, Rollout

PLAIN, TWIN = "plain PyTorch loop", "eager float32 twin"
LARGE, LARGE_EPOCHS = 65_536, 3
"""CaRL's batch and epochs."""


@dataclass(frozen=True)
class Options:
    """Measure PPO's update with CaRL's network."""

    transitions: int = 1024
    """Of one update."""
    minibatch: int = 256
    """Transitions per gradient."""
    size: int = 256
    """Height and width of the birdseye image; CaRL's network needs 256 or about that."""
    channels: int = 10
    """Of the birdseye image."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Of our layers; the plain loop is float32."""
    epochs: int = 1
    """Passes over the transitions."""
    chunk: int = 256
    """Images per forward and backward pass of ours."""
    resident: bool = False
    """The images lie on the device before the update begins, for both sides; without it ours are
    in pinned memory where there is a GPU, as its collector keeps them."""
    compile: bool = False
    """torch.compile our loss; its first call is not timed."""
    repeats: int = 3
    """Timed updates of each side, after one that is not."""
    threads: int = 1
    """Threads of torch, for all."""
    device: str = "cpu"
    """Torch device."""
    out: Path | None = None
    """JSON file to write."""


def rollout_of(options: Options) -> Rollout:
    """Random transitions of 8 environments; no episode ends, so that every pass is a minibatch."""
    draw, envs = np.random.default_rng(0), 8
    steps = options.transitions // envs
    image = (options.channels, options.size, options.size)

    def observation(*shape: int) -> dict[str, torch.Tensor]:
        numbers = {"state": STATE, "critic_state": CRITIC_STATE}
        pixels = torch.from_numpy(draw.integers(0, 256, (*shape, *image), dtype=np.uint8))
        if options.resident:
            pixels = pixels.to(options.device)
        elif options.device != "cpu":
            pixels = pixels.pin_memory()
        return {
            "birdseye": pixels,
            **{
                key: torch.from_numpy(draw.standard_normal((*shape, width), dtype=np.float32))
                for key, width in numbers.items()
            },
        }

    final = FinalObservation(
        {key: value[:0] for key, value in observation(1).items()},
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(0, dtype=torch.int64),
    )
    never = torch.zeros(steps, envs, dtype=torch.bool)
    action = draw.uniform(-0.9, 0.9, (steps, envs, ACTIONS)).astype(np.float32)
    return Rollout(
        observation=observation(steps, envs),
        last_observation=observation(envs),
        final_observation=final,
        action=torch.from_numpy(action),
        log_prob=torch.full((steps, envs), -1.4),
        env_reward=torch.from_numpy(draw.standard_normal((steps, envs), dtype=np.float32)),
        terminated=never,
        truncated=never.clone(),
        success=never.clone(),
        episode=torch.arange(envs).expand(steps, envs).clone(),
        episodes={env: EpisodeInfo("carl_network") for env in range(envs)},
    )


@contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions of float32 numbers in float32, not in TensorFloat-32; nothing on a CPU."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


def learner_of(options: Options) -> PPO:
    """Ours."""
    pixels = (options.channels, options.size, options.size)

    def numbers(width: int) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)

    space = gymnasium.spaces.Dict(
        birdseye=gymnasium.spaces.Box(0, 255, pixels, np.uint8),
        state=numbers(STATE),
        critic_state=numbers(CRITIC_STATE),
    )
    network = NetworkConfig(kind="carl", precision=options.precision)
    actions = gymnasium.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
    policy = make_policy(space, actions, network).to(options.device)
    config = PPOConfig(
        learning_rate=2.5e-4,
        epochs=options.epochs,
        chunk_size=options.chunk,
        minibatch_size=options.minibatch,
        clip_range=0.1,
        value_clip=0.1,
        entropy_coefficient=0.01,
        normalise_observation=False,
        compile=options.compile,
    )
    return PPO(config, policy)


def data_of(rollout: Rollout, device: str) -> dict[str, torch.Tensor]:
    """The same transitions as the plain loop keeps them."""
    flat = {key: value.flatten(0, 1) for key, value in rollout.observation.items()}
    flat["action"] = rollout.action.flatten(0, 1)
    flat["log_prob"] = rollout.log_prob.flatten().to(device)
    return {**flat, "reward": rollout.env_reward.to(device), "done": rollout.done.to(device)}


def precision_of(options: Options) -> str:
    """What the layers really run in: a processor without bfloat16 takes float32."""
    fast = multiplies_bfloat16(torch.device(options.device))
    return options.precision if fast else "float32"


def main(options: Options) -> None:
    """Measure; the last line printed is one JSON object."""
    set_threads(options.threads)
    rollout = rollout_of(options)
    data = data_of(rollout, options.device)
    terms = RewardTerms(rollout.env_reward, {"env": rollout.env_reward})
    ours = learner_of(options)
    twin = learner_of(replace(options, precision="float32", compile=False))
    plain = PlainLoop(options.channels, options.size, options.device)

    def exactly() -> None:
        with exact_float32():
            twin.update(rollout, terms)

    sides = {
        "ours": lambda: ours.update(rollout, terms),
        TWIN: exactly,
        PLAIN: lambda: plain.update(data, options.minibatch, options.epochs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(options.repeats + 1):
        for name, update in sides.items():
            (took,) = timed([update], options.device)
            if repeat:
                seconds[name].append(took)
            print(f"{name}: {took:.2f} s{'' if repeat else ' (not counted)'}", flush=True)
    batch = min(options.minibatch, 64 if options.device == "cpu" else options.minibatch)
    limit = convolution_limit(options.channels, options.size, batch, device=options.device)
    bound = options.transitions * (limit["forward"] + options.epochs * limit["both"])
    result = {
        "benchmark": "carl_network",
        "rows": [row_of(options, seconds, bound, limit)],
        "limit": limit,
        "threads": options.threads,
        "machine": machine(
            options.device if options.device == "cpu" else torch.cuda.get_device_name()
        ),
    }
    publish(result, options.out)


def row_of(
    options: Options, seconds: dict[str, list[float]], bound: float, limit: dict[str, Any]
) -> dict[str, Any]:
    """Seconds per update, and what they mean for CaRL's batch."""
    medians = {name: statistics.median(some) for name, some in seconds.items()}
    scale = LARGE / options.transitions
    first = limit["forward"] * LARGE
    large_bound = first + LARGE_EPOCHS * limit["both"] * LARGE
    values = limit["forward"] / (limit["forward"] + options.epochs * limit["both"])
    # The pass for the values is made once, the others once per epoch.
    share = (values + LARGE_EPOCHS * (1.0 - values)) / (values + options.epochs * (1.0 - values))
    return {
        "name": f"CaRL's network, {options.transitions} transitions of "
        f"{options.channels}x{options.size}x{options.size}, minibatch {options.minibatch}, "
        f"{options.epochs} epoch{'s' * (options.epochs > 1)}",
        "unit": "seconds per update",
        "lower_is_better": True,
        "ours": medians["ours"],
        "peers": {PLAIN: medians[PLAIN]},
        "ratio_to_best": medians[PLAIN] / medians["ours"],
        "twin": medians[TWIN],
        "ratio_to_twin": medians[TWIN] / medians["ours"],
        "spread": {name: [min(some), max(some)] for name, some in seconds.items()},
        "convolution_limit": bound,
        "of_convolution_limit": bound / medians["ours"],
        "extrapolated": {
            "transitions": LARGE,
            "epochs": LARGE_EPOCHS,
            "ours_minutes": medians["ours"] * scale * share / 60,
            "plain_minutes": medians[PLAIN] * scale * share / 60,
            "convolution_limit_minutes": large_bound / 60,
        },
        "precision": precision_of(options),
        "compile": options.compile,
        "runs": options.repeats,
    }


if __name__ == "__main__":
    main(tyro.cli(Options))
