"""The studies of the General Reward Model, as small as they go."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robo.assess.completion import completion
from robo.rewards.grm.labels import Labeller
from robo.rollout import Episode, EpisodeInfo

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


class PacedExpert:
    """Marks the end of a subtask every ten steps."""

    def __init__(self, subtasks):
        self.subtasks = subtasks

    def reset(self, num_envs):
        self.step = np.zeros(num_envs, np.int64)

    def __call__(self, observation, started):
        self.step = np.where(started, 0, self.step + 1)
        return np.ones((len(started), 2), np.float32)

    def keyframes(self, env):
        ends = range(10, int(self.step[env]) + 1, 10)
        return {str(at): at for at in ends[: self.subtasks - 1]}


def attempt(actor, steps=80, signal=None):
    """An episode of two environments' second one, and all of its actions."""
    actor.reset(2)
    actions = np.stack(
        [actor({}, np.array([step == 0, step in (0, 7)]))[0] for step in range(steps)]
    )
    episode = Episode(
        EpisodeInfo("synthetic/Paced", "go"),
        {},
        actions,
        np.zeros(steps, np.float32),
        success=False,
        terminated=False,
        signals={} if signal is None else {"progress": signal},
        metadata=actor.metadata(0),
    )
    return episode, actions


def label_of(episode, subtasks, horizon=10.0):
    return Labeller(subtasks, horizon)(episode)


def test_attempt_that_stalls_is_labelled_as_far_as_it_went(benchmark):
    actors = benchmark("_grm_actors")
    actor = actors.Spoiled(PacedExpert(4), actors.STALLS, 4, 10.0, seed=0)
    episode, actions = attempt(actor)
    assert actors.judged(episode, 4, 10.0, None) is episode
    assert (actions[:30] == 1).all() and (actions[30:, 0] == 0).all()
    assert (actions[30:, 1] == 1).all()  # the fingers
    label = label_of(episode, 4)
    assert label[[10, 20, 30, 80]] == pytest.approx([0.25, 0.5, 0.75, 0.75])
    assert completion(label) == "partial"


@pytest.mark.parametrize("seed", range(4))
def test_attempt_that_wanders_loses_what_it_had(benchmark, seed):
    actors = benchmark("_grm_actors")
    actor = actors.Spoiled(PacedExpert(4), actors.WANDERS, 4, 10.0, seed)
    episode, actions = attempt(actor)
    stop = episode.metadata["stop"]
    assert 2 <= stop < 8
    assert (actions[:stop] == 1).all() and not (actions[stop:] == 1).all(axis=1).any()
    label = label_of(episode, 4)
    assert label.argmax() == stop and label[stop] == pytest.approx(stop / 40)
    assert label[0] == 0 and label[-1] == 0 and completion(label) == "failure"


def test_attempt_that_never_came_to_stall_is_left_out(benchmark):
    actors = benchmark("_grm_actors")
    actor = actors.Spoiled(PacedExpert(4), actors.STALLS, 4, 10.0, seed=0)
    assert actors.judged(attempt(actor, steps=25)[0], 4, 10.0, None) is None


def test_single_subtask_is_judged_by_what_demonstrations_make_of_the_signal(benchmark):
    actors = benchmark("_grm_actors")
    demo = attempt(actors.Spoiled(PacedExpert(1), actors.STALLS, 1, 10.0, 0), 11)[0]
    demo.signals["progress"] = np.linspace(0, 0.5, 11)
    worth = actors.time_to_go([demo], 10.0)
    assert worth([0.0, 0.25, 0.5]) == pytest.approx([0.0, 0.5, 1.0])

    def judged(kind, end):
        actor = actors.Spoiled(PacedExpert(1), kind, 1, 10.0, seed=1)
        signal = np.full(40, end)
        return actors.judged(attempt(actor, 40, signal)[0], 1, 10.0, worth)

    stalled = judged(actors.STALLS, 0.3)
    assert stalled.metadata["progress_ceiling"] == pytest.approx(0.6)
    label = label_of(stalled, 1)
    assert label[stalled.metadata["stop"]] == pytest.approx(0.6)
    assert label[-1] == pytest.approx(0.6) and completion(label) == "partial"
    assert judged(actors.STALLS, 0.1) is None and judged(actors.STALLS, 0.5) is None
    wandered = judged(actors.WANDERS, 0.1)
    assert completion(label_of(wandered, 1)) == "failure"
    assert judged(actors.WANDERS, 0.3) is None


def test_completion_is_counted_by_kind(benchmark):
    judging = benchmark("_grm_judging")
    found = judging.agreement(
        ["success", "success", "partial", "failure"], ["success", "partial", "partial", "success"]
    )
    assert found == {"all": 0.5, "success": 0.5, "partial": 1.0, "failure": 0.0}


def test_every_acceptance_figure_can_fail(benchmark):
    judging = benchmark("_grm_judging")
    assert {**judging.LIMITS["seen"], **judging.LIMITS["adapted"]}.keys() <= set(judging.FIGURES)
    good, bad = ({name: value for name in judging.FIGURES} for value in (0.99, 0.5))
    for part, figures in judging.passes(good, good).items():
        assert figures == dict.fromkeys(judging.LIMITS[part], True)
    for part, figures in judging.passes(bad, bad).items():
        assert figures == dict.fromkeys(judging.LIMITS[part], False)
    assert judging.passes(None, None) == {}


def run(excess, steps_to_80: int | None = 96_000, **more):
    """A finished run of one arm."""
    return {
        "success": 1.0,
        "steps": 100_000,
        "steps_to_80": steps_to_80,
        "hacking": {"potential": 0.9, "true_progress": 0.4, "excess": excess},
        "training": [{"potential": 0.8, "true_progress": 0.1}, {"potential": None}],
        "reward_counts": {},
        "cpu_seconds": 1.0,
        **more,
    }


def test_rows_take_what_is_not_known_for_the_worst(benchmark):
    training = benchmark("_grm_training")
    row = training.row_of("full", [run(0.1), run(-0.2, None), run(0.3, None)])
    assert row["worst_excess"] == 0.3 and row["median_steps_to_80"] is None
    assert row["largest_excess_in_training"] == pytest.approx(0.7)
    assert training.row_of("full", [run(0.1), run(None)])["worst_excess"] is None
    assert training.median_steps([1, 2, None]) == 2


def test_verdict_asks_whether_there_was_anything_to_prevent(benchmark):
    hacking, training = benchmark("reward_hacking"), benchmark("_grm_training")

    def verdict(frozen, refreshed, seeds=2):
        rows = [
            training.row_of(name, [run(excess) for excess in found])
            for name, found in (("frozen", frozen), ("refreshed", refreshed))
        ]
        return tuple(hacking.verdict(rows, seeds).values())

    assert verdict([0.0, 0.5], [0.05, 0.1]) == (True, True)
    assert verdict([0.0, 0.05], [0.05, 0.2]) == (False, False)
    assert verdict([0.0, 0.5], [0.05, 0.1], seeds=3) == (None, None)
    assert hacking.verdict([], 2) == dict.fromkeys(hacking.verdict([], 2))


def test_studies_share_their_options(benchmark):
    training = benchmark("_grm_training")
    weak, full = benchmark("reward_hacking").Options(), benchmark("grm_ablation").Options()
    assert isinstance(weak, training.ArmOptions) and isinstance(full, training.ArmOptions)
    assert (weak.demonstrations, full.demonstrations) == (6, 30)
    assert training.setting(full)["seeds"] == [0, 1, 2]


def study(name, tmp_path, *options):
    """Exit code and result of a benchmark's last printed line."""
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *map(str, options)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout, done.stderr[-2000:]
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.slow
def test_throughput_of_the_compact_and_of_a_tiny_model(tmp_path):
    out = tmp_path / "result.json"
    arguments = ["--batches", 1, 8, "--repeats", 1, "--seconds", 0.02, "--vlm", "tiny"]
    code, result, _ = study(
        "grm_throughput", tmp_path, *arguments, "--vlm-batches", 2, "--out", out
    )
    assert code == 0 and json.loads(out.read_text()) == result
    names = [row["name"] for row in result["rows"]]
    assert names == [
        "compact, as released",
        "compact, 1 frames a call",
        "compact, 8 frames a call",
        "tiny, 2 pairs, caching on",
        "tiny, 2 pairs, caching off",
    ]
    assert all(row["pairs_per_second"] > 0 for row in result["rows"])
    on, off = result["rows"][3:]
    assert on["operations_per_pair"] < off["operations_per_pair"]


def test_held_out_task_is_learned_from_one_demonstration_a_fit(benchmark, tmp_path):
    tasks = benchmark("grm_tasks")
    options = tasks.Options(seeds=(3, 7), test=5)
    runs = tasks.recordings(options)
    shown = runs[options.held_out, "train"].settings
    assert (shown["demonstrations"], shown["failures"], shown["detour"]) == (2, 0, 0.0)
    assert options.held_out not in options.tasks and len(options.tasks) >= 6
    assert len(runs) == 2 * (len(options.tasks) + 1)
    assert all(run.settings["failures"] == 5 for (_, part), run in runs.items() if part == "test")
    seeds = {
        part: {run.settings["seed"] for key, run in runs.items() if key[1] == part}
        for part in ("train", "test")
    }
    assert not seeds["train"] & seeds["test"]
    stores = {key: "/".join(key) for key in runs}
    learns, seen, adapted = tasks.fits(options, tasks.Study(tmp_path), stores)
    assert [len(found) for found in (learns, seen, adapted)] == [2, 2, 2]
    assert [run.settings["demo"].rpartition(":")[2] for run in adapted] == ["0", "1"]
    assert shown["task"] not in learns[0].settings["stores"]


def test_models_of_other_episodes_are_fitted_anew(benchmark, tmp_path):
    tasks = benchmark("grm_tasks")
    stores = {key: "same" for key in tasks.recordings(tasks.Options())}
    settings = [
        [
            run.settings
            for runs in tasks.fits(options, tasks.Study(tmp_path), stores)
            for run in runs
        ]
        for options in (tasks.Options(), tasks.Options(demonstrations=10))
    ]
    assert all(one != other for one, other in zip(*settings, strict=True))
