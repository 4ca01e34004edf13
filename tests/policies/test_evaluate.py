"""Evaluations: one episode per seed, repeatable, and nothing of the policy changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import robo
from robo.errors import RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.evaluate import evaluate, parse_seeds


@pytest.fixture
def env() -> Iterator[Any]:
    env = robo.make_vec("gym/CartPole-v1", 4, backend="in_process")
    yield env
    env.close()


def policy(env: Any) -> ActorCritic:
    return ActorCritic(env.single_observation_space, env.single_action_space, seed=1)


def test_outcomes_are_per_seed_and_repeatable(env: Any) -> None:
    actor_critic = policy(env)
    before = {name: value.clone() for name, value in actor_critic.state_dict().items()}
    score = evaluate(actor_critic, env, range(50, 56))
    assert score["episodes"] == 6
    assert [outcome["seed"] for outcome in score["outcomes"]] == list(range(50, 56))
    assert score["mean_length"] == np.mean([outcome["length"] for outcome in score["outcomes"]])
    assert score["successes"] == sum(outcome["success"] for outcome in score["outcomes"])
    assert score == evaluate(actor_critic, env, range(50, 56))
    reordered = evaluate(actor_critic, env, [55, 50])
    assert reordered["outcomes"] == [score["outcomes"][5], score["outcomes"][0]]
    assert all(torch.equal(before[k], v) for k, v in actor_critic.state_dict().items())


def test_sampling_follows_its_own_seed(env: Any) -> None:
    actor_critic = policy(env)
    lengths = [
        [o["length"] for o in evaluate(actor_critic, env, range(8), False, seed)["outcomes"]]
        for seed in (0, 0, 1)
    ]
    assert lengths[0] == lengths[1] != lengths[2]


def test_a_diverged_policy_and_no_seeds_are_one_sentence(env: Any) -> None:
    actor_critic = policy(env)
    with pytest.raises(RoboError, match="at least one seed"):
        evaluate(actor_critic, env, [])
    with torch.no_grad():
        next(actor_critic.actor.parameters()).fill_(float("nan"))
    with pytest.raises(RoboError, match="NaN or infinite"):
        evaluate(actor_critic, env, [0])


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3-5", [3, 4, 5]),
        ("7", [7]),
        ("1-2, 9", [1, 2, 9]),
        ("4-4", [4]),
        ("5000-5001,5000-5001", [5000, 5001]),
        ("8-9,3-8,9", [8, 9, 3, 4, 5, 6, 7]),
    ],
)
def test_seeds_from_text(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "5-3", "a-b", "1-", "-4", "1-2-3", "1.5"])
def test_bad_seeds_are_one_sentence(text: str) -> None:
    with pytest.raises(RoboError, match="must be A-B"):
        parse_seeds(text)
