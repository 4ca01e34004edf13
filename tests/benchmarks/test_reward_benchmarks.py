"""The benchmarks of rewards: every arm can be made, and tables hold what is measured."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from robo.rollout import EpisodeInfo, FinalObservation, Rollout

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(FOLDER))


def rollout() -> Rollout:
    """Two environments, five steps, one success and one time-out."""
    done = torch.zeros(5, 2, dtype=torch.bool)
    done[4] = True
    won = torch.zeros_like(done)
    won[4, 0] = True
    zero = torch.zeros(5, 2)
    return Rollout(
        observation={},
        last_observation={},
        final_observation=FinalObservation({}, torch.tensor([4, 4]), torch.tensor([0, 1])),
        action=zero,
        log_prob=zero,
        env_reward=zero,
        terminated=won,
        truncated=done & ~won,
        success=won,
        episode=torch.arange(2).expand(5, 2),
        episodes={i: EpisodeInfo("mujoco/Reach") for i in range(2)},
        signals={"progress": torch.linspace(0.2, 1, 5)[:, None].expand(5, 2).clone()},
    )


def test_every_arm_of_the_wrappers_pays_finite_rewards(benchmark, monkeypatch):
    wrappers = benchmark("reward_wrappers")
    monkeypatch.setattr(wrappers, "hierarchy_weights", lambda fault, seed: [1.0, 0.1])
    for fault in wrappers.FAULTS:
        for arm in wrappers.WRAPPERS:
            reward = wrappers.make_reward(fault, arm, 0, 0.99, "keep")
            total = reward(rollout()).total
            assert total.shape == (5, 2) and bool(total.isfinite().all()), (fault, arm)


def test_faults_are_what_they_say(benchmark):
    wrappers = benchmark("reward_wrappers")
    paid = wrappers.dense("farmable", 0, 0)(rollout()).total[:, 0]
    assert paid.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    changed = wrappers.dense("accurate", 0, 0)(rollout()).total[:, 0]
    assert changed.tolist() == pytest.approx([0, 0.2, 0.2, 0.2, 0.2])
    hills = [wrappers.dense("false goal", i, 0)(rollout()).total[:, 0].tolist() for i in range(3)]
    # The members' false goals lie at different places: all agree elsewhere. What entering one
    # pays is taken back on leaving it, so that none can be farmed.
    assert hills[0] == pytest.approx([0, 0.2, 0.2, 0.2, 0.2])
    assert hills[1] == pytest.approx([0, -2.6, 0.2, 0.2, 0.2])
    assert hills[2] == pytest.approx([0, 0.2, 0.2, 2.4, -2.0])


def test_random_processes_are_processes(benchmark):
    regret = benchmark("distance_regret")
    options = regret.Options(processes=3, states=4, actions=2)
    found = regret.measure(options)
    assert all(len(values) == 3 and (values >= 0).all() for values in found.values())
    transition, gold, second = regret.process(options, np.random.default_rng(0))
    assert transition.shape == gold.shape == second.shape == (4, 2, 4)
    assert np.allclose(transition.sum(-1), 1)


def test_stores_and_rewards_of_the_assessment(benchmark):
    sets = benchmark("_assess_sets")
    for name, simulator in sets.SIMULATORS.items():
        shares = sets.parts(simulator, 4, 7)
        assert shares[0] == ("expert", 4, True)
        assert sum(count for _, count, wanted in shares if not wanted) == 7
        texts = sets.rewards_of(name, "runs/grm", "runs/clip")
        assert {"success", "GRM, shaped", "language goal", "SRPO", "naive, GRM"} <= set(texts)
        assert len(set(texts.values())) == len(texts)
    labels = sets.captions_of("libero").label(
        {"goal_fraction": np.array([0, 0, 1.0]), "gripper_distance": np.array([0.3, 0.01, 0.2])}
    )
    assert labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize("caught", [["loop_income", "idle_income"], ["idle_income"]])
def test_the_assessment_fails_where_raw_progress_is_not_caught(benchmark, tmp_path, capsys, caught):
    assess = benchmark("assess_rewards")
    options = assess.Options(simulators=("mujoco",), work=tmp_path / "work", out=tmp_path / "out")
    study = assess.Study(options.work)
    probes = [
        {"name": "near_miss", "applies": False, "note": "cannot tell", "income": None},
        *({"name": name, "applies": True, "note": "", "income": 0.1} for name in assess.INCOME),
    ]
    figures = {name: {"value": 1.0} for name in assess.FIGURES}
    found = {"figures": figures, "caught": caught, "probes": probes}
    for runs in assess.stages(options, study):
        for run in runs:
            result = {"episodes": 2, "successes": 1, "tasks": ["mujoco/Lift"], "actors": {}}
            if run.name == "assess-mujoco":
                texts = assess.rewards_of("mujoco", run.settings["grm"], run.settings["clip"])
                result["rewards"] = {t: {**found, "language": None} for t in texts.values()}
            study.save(run, result)
    assert assess.main(options) == (0 if len(caught) == 2 else 1)
    written = json.loads((tmp_path / "out").read_text())
    assert written["naive_caught"] == (len(caught) == 2)
    assert written["rows"][0]["not_applicable"] == {"near_miss": "cannot tell"}
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == written


def test_the_route_driver_steers_to_the_route_and_halts(benchmark):
    driver = benchmark("_assess_sets").RouteDriver()
    raster = np.zeros((1, 10, 64, 64), np.uint8)
    raster[0, 1, :, 38:41] = 255  # the route lies to the right
    state = np.zeros((1, 8), np.float32)
    steer, pedal = driver({"birdseye": raster, "state": state}, np.ones(1, bool))[0]
    assert steer > 0.3 and pedal > 0.5
    raster[0, 5, 40, 30:34] = 255  # a red light, 8 m ahead
    assert driver({"birdseye": raster, "state": state + 5}, np.zeros(1, bool))[0, 1] < 0


def test_srpo_targets_need_every_run_and_a_low_start(benchmark, tmp_path, monkeypatch):
    learning = benchmark("srpo_learning")
    options = learning.Options(seeds=(0,), tasks=("mujoco/Reach",), work=tmp_path)
    study, began = learning.Study(tmp_path), {"demonstrations": 4, "cloned": 0.5, "report": 0.4}
    settings = {"task": "mujoco/Reach", "seed": 0, "began": str(tmp_path / "begin")}
    runs = [learning.Run(arm, {**settings, "arm": arm}) for arm in options.arms]
    study.save(runs[0], {"success": 0.95, "rollouts_to_level": 640})
    part = learning.summary(options, study, runs, {"begin": began}, [])
    assert (part["unfinished"], part["target_met"]) == (1, False)
    study.save(runs[1], {"success": 0.7, "rollouts_to_level": None})
    whole = learning.summary(options, study, runs, {"begin": began}, [])
    assert whole["target_met"] and whole["mean_success"] == {"srpo": 0.95, "binary": 0.7}
    able = learning.summary(options, study, runs, {"begin": {**began, "cloned": 0.6}}, [])
    assert not able["target_met"] and not able["starts_low"]
    monkeypatch.syspath_prepend(str(FOLDER.parent / "tools"))
    tables = benchmark("srpo_tables")
    text = tables.srpo_learning(whole)
    assert "| mujoco/Reach | SRPO | 40% | 95% | 640 |" in text
    assert "| mujoco/Reach | binary reward | 40% | 70% | - |" in text
    assert tables.rollouts([640, None, 1280]) == "1,280 (640 to -)"


def test_progress_reward_counts_what_was_never_recorded(benchmark, tmp_path, monkeypatch):
    progress = benchmark("progress_reward")
    options, study = progress.Options(work=tmp_path), progress.Study(tmp_path)
    runs = [
        progress.Run(f"video-{task[7:]}-0", {"task": task, "encoder": "video", "seed": 0})
        for task in progress.TASKS
    ]
    for run in runs[:2]:
        study.save(run, dict.fromkeys(progress.MEASURES, 0.99))
    part = progress.summary(options, study, runs, [])
    assert (part["unfinished"], part["target_met"]) == (1, False)
    study.save(runs[2], {**dict.fromkeys(progress.MEASURES, 0.99), "auc": 0.93})
    whole = progress.summary(options, study, runs, [])
    assert whole["target_met"] and whole["rows"][0]["range"]["auc"] == [0.93, 0.99]
    monkeypatch.syspath_prepend(str(FOLDER.parent / "tools"))
    text = benchmark("srpo_tables").progress_reward(whole)
    assert "| compact video encoder | 0.99 (0.99 to 0.99) |" in text
    assert "| 0.97 (0.93 to 0.99) |" in text and "0.95: met" in text


def test_encoders_and_true_progress_of_the_progress_benchmark(benchmark):
    progress = benchmark("progress_reward")
    generator = np.random.default_rng(0)
    episodes = [
        SimpleNamespace(
            frames={
                view: generator.integers(0, 255, (9, 64, 64, 3), np.uint8)
                for view in progress.VIEWS
            },
            frame_step=np.arange(9),
            signals={"progress": np.linspace(0.125, 1, 8)},
        )
        for _ in range(2)
    ]
    settings = {"encoder": "untrained", "seed": 0, "device": "cpu"}
    first, second = (progress.make_encoder(settings, episodes) for _ in range(2))
    clips = [episode.frames for episode in episodes]
    assert torch.equal(first.embed(clips), second.embed(clips))
    assert not torch.equal(first.embed(clips)[0], first.embed(clips)[1])
    ends, missing = progress.true_distances(episodes[0], 3)
    assert ends.tolist() == [2, 6, 9] and missing.tolist() == [0.875, 0.375, 0.0]
