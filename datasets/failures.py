"""Failures of a task: random actions, a noisy expert, and policies that are half trained.

    python datasets/failures.py --task mujoco/Lift --count 20 --out runs/datasets/failures

Each kind is a source of its own in the episodes' metadata (``actor``). A half-trained policy is
PPO on the sparse success, stopped after ``--half-trained`` steps; several stops give several.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _cards import card, counts, licence_of, run

from robo.data import EpisodeStore
from robo.errors import RoboError
from robo.policies.recorder import PolicyActor, stream_episodes
from robo.rollout import CameraSchedule
from robo.sim.experts import make_expert
from robo.sim.mujoco.expert import ExpertStyle
from robo.sim.registry import make_vec


@dataclass(frozen=True)
class Recipe:
    """Record failures of several kinds into one store."""

    task: str = "mujoco/Lift"
    """Task id."""
    count: int = 20
    """Failures of each kind."""
    noise: float = 1.2
    """Of the noisy expert, in shares of the actions' range."""
    half_trained: tuple[int, ...] = (20_000, 60_000)
    """Environment steps after which a policy is taken; none leaves that kind out."""
    train_options: tuple[str, ...] = ()
    """More options of `robo train` for them."""
    size: int = 64
    """Image height and width in pixels."""
    stride: int = 1
    """Steps between two frames."""
    num_envs: int = 4
    """Environments stepped together."""
    seed: int = 500_000
    """First seed; every attempt takes the next."""
    out: Path = Path("runs/datasets/failures")
    """Folder of the data set."""


class RandomActor:
    """Uniform actions, held for a few steps: pure noise hardly moves an arm."""

    def __init__(self, space: Any, seed: int) -> None:
        """Actions of ``space``."""
        self.space, self.rng = space, np.random.default_rng(seed)

    def reset(self, num_envs: int) -> None:
        """Draw the first actions."""
        self.left = np.zeros(num_envs, np.int64)
        self.action = np.zeros((num_envs, *self.space.shape), np.float32)

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions ``[N, A]``."""
        for env in np.flatnonzero(self.left <= 0):
            self.action[env] = self.rng.uniform(self.space.low, self.space.high)
            self.left[env] = self.rng.integers(1, 9)
        self.left -= 1
        return self.action.copy()


def train(recipe: Recipe, steps: int) -> Path:
    """A policy after ``steps`` steps; its run folder."""
    folder = recipe.out / "policies" / str(steps)
    command = ["train", "--task", recipe.task, "--total-steps", str(steps), "--out", str(folder)]
    options = ["--evaluate-every-steps", "0", "--quiet", *recipe.train_options]
    done = subprocess.run([sys.executable, "-m", "robo.cli", *command, *options], check=False)
    if done.returncode:
        raise RoboError(f"`robo {' '.join(command)}` failed: see above")
    return folder


def actors(recipe: Recipe, env: Any) -> Iterator[tuple[str, Any]]:
    """Every kind and who acts."""
    yield "random", RandomActor(env.single_action_space, recipe.seed)
    try:
        style = ExpertStyle(noise=recipe.noise)
        yield "noisy expert", make_expert(recipe.task, style, recipe.seed)
    except RoboError as error:
        print(f"no noisy expert: {error}", flush=True)
    for steps in recipe.half_trained:
        from robo.policies.actor_critic import ActorCritic
        from robo.policies.run_folder import find_policy

        policy = ActorCritic.load(find_policy(train(recipe, steps)))
        yield f"policy after {steps} steps", PolicyActor(policy, False, recipe.seed)


def main(recipe: Recipe) -> None:
    """Record, and write the card."""
    camera = CameraSchedule(("front", "side", "wrist"), recipe.size, recipe.size, recipe.stride)
    env = make_vec(recipe.task, recipe.num_envs)
    try:
        with (
            card(recipe.out, "failures", "failures of several actors", task=recipe.task) as about,
            EpisodeStore(recipe.out / "episodes") as store,
        ):
            seed, kinds = recipe.seed, {}
            for name, actor in actors(recipe, env):
                kept = attempts = 0
                while kept < recipe.count and attempts < 20 * recipe.count + 20:
                    seeds = list(range(seed, seed + recipe.num_envs))
                    seed += recipe.num_envs
                    for episode in stream_episodes(env, actor, seeds, camera):
                        attempts += 1
                        if not episode.success and kept < recipe.count:
                            metadata = {**episode.metadata, "kind": "failure", "actor": name}
                            store.append(replace(episode, metadata=metadata, keyframes={}))
                            kept += 1
                kinds[name] = {"failures": kept, "attempts": attempts}
            about |= counts(recipe.out / "episodes")
            about |= {"kinds": kinds, "licence": licence_of(recipe.task)}
    finally:
        env.close()


if __name__ == "__main__":
    run("failures", main, Recipe)
