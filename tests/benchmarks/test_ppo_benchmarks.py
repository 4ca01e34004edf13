"""The PPO benchmarks measure what they say: same environments, fair choice, honest statistics."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import robo
from robo.policies.actor_critic import ActorCritic
from robo.policies.collector import Collector

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch):
    """Benchmarks are scripts: their helpers lie beside them."""
    monkeypatch.syspath_prepend(str(FOLDER))


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def tiny(**changes):
    values = {"name": "tiny", "task": "Pendulum-v1", "envs": 2, "steps": 8, "epochs": 1}
    return script("_ppo_sides").Workload(**{**values, "minibatch": 8, "limit": 200, **changes})


@pytest.mark.parametrize(
    ("library", "backend"),
    [
        ("robo", "sync"),
        ("robo", "own"),
        ("robo", "envpool"),
        ("stable-baselines3", "sync"),
        ("stable-baselines3", "own"),
        ("stable-baselines3", "envpool"),
        ("skrl", "sync"),
        ("skrl", "envpool"),
        ("rsl-rl-lib", "sync"),
        ("rsl-rl-lib", "envpool"),
        pytest.param("sbx-rl", "sync", marks=pytest.mark.slow),
    ],
)
def test_every_side_trains(library, backend):
    sides = script("_ppo_sides")
    line = sides.missing(library, backend)
    if line is not None:
        pytest.skip(line)
    sides.make_side(library, backend, tiny())(2)


def test_gymnasiums_sync_gives_us_the_episodes_of_our_own_backend():
    backends = script("_ppo_backends")
    stepper = backends.SyncStepper("Pendulum-v1", 3)
    made = robo.make_vec("gym/Pendulum-v1", 3, backend="in_process")
    rollouts = []
    for env in (backends.ContractEnvironment(stepper, "Pendulum-v1"), made):
        policy = ActorCritic(made.single_observation_space, made.single_action_space, seed=0)
        rollouts.append(Collector(env, policy, 210, seed=5).collect().check())
    theirs, ours = rollouts
    assert len(theirs.final_observation.step) == 3
    for name in ("env_reward", "truncated", "action"):
        assert torch.equal(getattr(theirs, name), getattr(ours, name))
    assert torch.equal(theirs.observation["state"], ours.observation["state"])
    final = [one.final_observation.observation["state"] for one in rollouts]
    assert torch.equal(*final)


def test_a_recorder_sees_every_episode():
    backends = script("_ppo_backends")
    stepper = backends.RecordingStepper("Pendulum-v1", 2)
    stepper.reset(seed=0)
    total = 0.0
    for _ in range(200):
        total += float(stepper.step(np.zeros((2, 1), np.float32))[1].sum())
    assert [step for step, _ in stepper.episodes] == [400, 400]
    assert sum(value for _, value in stepper.episodes) == pytest.approx(total)


def test_a_missing_library_is_reported_with_its_install_line(monkeypatch):
    throughput, sides = script("ppo_throughput"), script("_ppo_sides")
    monkeypatch.setattr(
        sides.importlib.util, "find_spec", lambda name: None if name == "skrl" else object()
    )
    runs, absent = throughput.plan(throughput.Options(repeats=2, workloads=(0,)))
    assert absent["skrl on sync"] == "pip install skrl==2.1.1"
    assert not [run for run in runs if run.settings["library"] == "skrl"]
    half = len(runs) // 2
    names = [run.name.rpartition("-")[0] for run in runs]
    assert names[:half] == names[half:]  # sides take turns, repeat by repeat
    assert {run.settings["backend"] for run in runs} == {"sync", "own", "envpool"}


def test_each_library_is_shown_with_its_best_backend_and_the_ratio_is_to_the_best_peer():
    throughput = script("ppo_throughput")

    def runs(*speeds):
        return [{"cpu": speed, "wall": 0.5 * speed} for speed in speeds]

    figures = {
        ("robo", "sync"): runs(200, 300, 250),
        ("robo", "own"): runs(400, 500, 450),
        ("stable-baselines3", "sync"): runs(100, 90, 110),
        ("stable-baselines3", "envpool"): runs(140, 150, 160),
        ("skrl", "sync"): runs(120, 120, 120),
    }
    same = throughput.row_of(figures, tiny(), "sync", "free", 1.5)
    assert same["best_peer"] == "skrl" and same["ratio_to_best"] == pytest.approx(250 / 120)
    assert same["peers"] == {"stable-baselines3": 100, "skrl": 120}
    best = throughput.row_of(figures, tiny(), "best", "free", 1.8)
    assert best["backends"] == {"ours": "own", "stable-baselines3": "envpool", "skrl": "sync"}
    assert best["ratio_to_best"] == best["ratio_wall"] == pytest.approx(450 / 150)
    assert best["ratio_range"] == [pytest.approx(450 / 160), pytest.approx(500 / 150)]
    assert throughput.row_of({("robo", "sync"): runs(1)}, tiny(), "sync", "free", 1.5) is None


def test_the_permutation_test_is_exact():
    test = script("ppo_learning_curves").permutation_test
    assert test([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20)
    assert test([1, 2, 3], [1, 2, 3]) == 1.0
    assert test([0.0] * 5, [1.0] * 5) == pytest.approx(2 / 252)


def test_final_returns_are_those_of_the_last_tenth():
    curves = script("ppo_learning_curves")
    found = curves.summary([(100, -5.0), (950, -1.0), (1000, -3.0)], 1000)
    assert found["final_return"] == -2.0 and found["episodes"] == 3
    assert found["curve"][1] == -5.0 and found["curve"][-1] == -3.0 and found["curve"][0] is None
    row = curves.row_of(
        "Pendulum-v1",
        {
            name: [
                {"final_return": value, "curve": [], "cpu_seconds": 1, "steps": 9}
                for value in values
            ]
            for name, values in {"robo": (-3.0, -2.0), "peer": (-4.0, -1.0)}.items()
        },
    )
    assert row["within_peers_spread"] and row["permutation_p"] == {"peer": 1.0}


def test_batches_have_equal_samples_and_the_rules_agree_at_the_first():
    study = script("batch_scaling")
    for power in range(9, 17):
        envs, steps = study.shape_of(2**power)
        assert envs * steps == 2**power and steps <= 256
    runs = study.plan(study.Options(seeds=(0,), tasks=("gym/Pendulum-v1",)))
    assert len(runs) == 1 + 7 * 3
    assert {run.settings["samples"] for run in runs} == {2**19}
    assert [run.settings["rule"] for run in runs if run.settings["batch"] == 512] == ["none"]
    assert study._median([3.0, None, 5.0]) == 5.0 and study._median([None, None, 1.0]) is None


def test_a_short_run_of_the_batch_study(tmp_path):
    study = script("batch_scaling")
    options = study.Options(seeds=(0,), tasks=("gym/Pendulum-v1",), batches=(512,), scale=0.002)
    (run,) = study.plan(options)
    found = study.run_one(run, tmp_path)
    assert found["samples"] == 1536 and found["updates"] == 3 and found["reached"] is None
    assert -2000 < found["return"] < -100


def test_the_plain_carl_loop_has_the_published_network_and_learns():
    carl = script("_ppo_carl")
    loop = carl.PlainLoop(10, 256, "cpu")
    assert sum(one.numel() for one in loop.network.parameters()) == 1_983_541
    main = script("carl_network")
    options = main.Options(transitions=8, minibatch=4)
    rollout = main.rollout_of(options).check()
    before = [one.detach().clone() for one in loop.network.parameters()]
    loop.update(main.data_of(rollout, "cpu"), 4, 1)
    moved = [not torch.equal(a, b) for a, b in zip(before, loop.network.parameters(), strict=True)]
    assert all(moved) and all(torch.isfinite(one).all() for one in loop.network.parameters())
    ours = sum(one.numel() for one in main.learner_of(options).actor_critic.parameters())
    assert ours == 1_983_541


def test_the_convolution_limit_counts_every_layer():
    carl = script("_ppo_carl")
    assert [shape[4] for shape in carl.layers(10, 256)] == [256, 126, 61, 29, 13, 6, 4]
    limit = carl.convolution_limit(2, 256, 1, repeats=1)
    assert len(limit["layers"]) == 14 and 0 < limit["forward"] < limit["both"]
