"""The score that selects and stops a run: one episode per selection seed, shared by all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robo.policies import distributed
from robo.policies.evaluate import evaluate, summarise
from robo.policies.policy import Policy
from robo.sim.contract import VectorEnvironment


def share_of_seeds(seeds: Sequence[int]) -> list[int]:
    """The seeds that this rank plays."""
    return list(seeds[distributed.rank() :: distributed.world_size()])


def selection_score(
    policy: Policy, env: VectorEnvironment | None, seeds: Sequence[int]
) -> dict[str, Any]:
    """Play this rank's share of ``seeds`` and merge what all ranks came to.

    ``env`` may be None on a rank without a share.

    Returns:
        What :func:`~robo.policies.evaluate.summarise` gives; it does not depend on who played
        which seed.

    Raises:
        RoboError: an action that is not finite.
    """
    own = [] if env is None else evaluate(policy, env, share_of_seeds(seeds))["outcomes"]
    by_seed = {
        outcome["seed"]: outcome
        for outcomes in distributed.gather_objects(own)
        for outcome in outcomes
    }
    return summarise([by_seed[seed] for seed in dict.fromkeys(seeds)])


def rank_of(score: dict[str, Any], metric: str) -> tuple[float, float]:
    """Order of scores: the metric first, the environment's own return where it ties."""
    if metric == "return":
        return score["mean_return"], 0.0
    first = score["success_rate"] if metric == "success" else score["signals"][metric]
    return first, score["mean_return"]
