"""The studies of robosuite and LIBERO: what they plan, how they go on, how they sum up."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from robo.errors import RoboError
from robo.rollout import Episode, EpisodeInfo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks and launch scripts are scripts: their helpers lie beside them."""
    for folder in ("benchmarks", "launch"):
        monkeypatch.syspath_prepend(str(ROOT / folder))


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_sides_take_turns_and_medians_are_of_their_own_row(tmp_path: Path) -> None:
    throughput, study = script("sim_throughput"), script("_study").Study(tmp_path)
    options = throughput.Options(rows=("lift", "lift-state"), repeats=3)
    runs = throughput.speed_runs(options)
    assert [run.name for run in runs[:4]] == [
        "lift-shipped-0",
        "lift-ours-0",
        "lift-state-shipped-0",
        "lift-state-ours-0",
    ]
    assert throughput.table(study, runs) == []
    for run in runs:
        rate = {"ours": 120.0, "shipped": 20.0}[run.settings["side"]] + run.settings["repeat"]
        study.save(run, {"steps_per_second": rate * (1 + 99 * run.name.startswith("lift-state"))})
    lift, state = throughput.table(study, runs)
    assert (lift["ours"], lift["peers"]["as shipped"], lift["reached"]) == (121.0, 21.0, True)
    assert lift["spread_ours"] == [120.0, 122.0] and lift["repeats"] == 3
    assert state["ours"] == 12100.0 and state["ratio_to_best"] == round(121 / 21, 2)


def test_a_side_that_dies_is_noticed_at_once() -> None:
    sides = script("_sim_sides")
    job = sides.Job("nothing/Lift", False, 0, processes=2, seconds=0.1, warm_up=0, batch=1)
    with pytest.raises(RuntimeError, match=r"nothing/Lift as shipped died with exit code 1"):
        sides.shipped(job)


def test_lifting_is_reached_by_a_shaped_run_in_time() -> None:
    lift = script("robosuite_lift")
    run = {"success": 0.9, "minutes": 25.0, "steps": 1}
    assert lift.reached({"grm": [run, {**run, "success": 0.1}], "success": []})
    assert not lift.reached({"grm": [{**run, "minutes": 25.1}], "success": [run]})
    assert not lift.reached({"grm": [{**run, "success": 0.89}]}) and not lift.reached({})


def test_experts_are_held_to_their_bars() -> None:
    experts = script("experts")
    robosuite = {f"robosuite/{name}": {"success_rate": 0.9} for name in experts.ROBOSUITE}
    libero = {
        f"libero/{suite}/{index}": {"success_rate": 0.8}
        for suite in experts.SUITES[:3]
        for index in range(4)
    }
    good = experts.summary_of({**robosuite, **libero})
    assert good["robosuite"]["reached"] and good["libero"]["reached"]
    assert good["libero"]["solved"] == 12 and len(good["libero"]["suites"]) == 3
    worse = {**robosuite, **libero, "robosuite/Door": {"success_rate": 0.88}}
    assert experts.summary_of(worse)["robosuite"]["below"] == ["robosuite/Door"]
    assert not experts.summary_of({})["robosuite"]["reached"]
    two_suites = {task: result for task, result in libero.items() if "goal" not in task}
    assert not experts.summary_of({**robosuite, **two_suites})["libero"]["reached"]


def test_every_side_is_known() -> None:
    throughput, sides = script("sim_throughput"), script("_sim_sides")
    for run in throughput.speed_runs(throughput.Options(repeats=1)):
        job = sides.Job(**run.settings["job"])
        assert (run.settings["side"], job.task.partition("/")[0]) in sides.SIDES


def test_a_script_goes_on_in_its_folder_unless_settings_changed(tmp_path: Path) -> None:
    runs, study = script("_launch_runs"), script("_study")
    run = study.Run("a", {"seed": 0, "views": ("front",)})
    kept = runs.kept_folder(run, tmp_path / "a")
    (kept / "checkpoint").touch()
    assert (runs.kept_folder(run, tmp_path / "a") / "checkpoint").exists()
    other = study.Run("a", {"seed": 1, "views": ("front",)})
    assert not (runs.kept_folder(other, tmp_path / "a") / "checkpoint").exists()


@pytest.mark.parametrize("name", ["robosuite_lift", "libero_improvement"])
def test_planned_settings_are_those_of_the_script(name: str, tmp_path: Path) -> None:
    study = script(name)
    launched = {"robosuite_lift": "train_robosuite", "libero_improvement": "train_libero"}[name]
    runs = study.planned(study.Options(seeds=(0, 1)))
    assert len({run.name for run in runs}) == len(runs) >= 2
    for run in runs:
        config = script(launched).Config(out=tmp_path, resume=True, **run.settings)
        assert config.seed == run.settings["seed"]


def test_states_belong_to_one_split(tmp_path: Path) -> None:
    config = script("train_libero").Config
    with pytest.raises(RoboError, match=r"\[8, 9\] are in two of the three splits"):
        config(out=tmp_path, demonstration_states="0-9", training_states="8-20")


def failure(distance: list[float], hand: list[float]) -> Episode:
    signals = {
        "distance_on_a_b": np.array(distance, np.float32),
        "gripper_distance": np.array(hand, np.float32),
    }
    steps = len(hand)
    return Episode(
        info=EpisodeInfo("libero/x/0", "put a on b"),
        observation={},
        action=np.zeros((steps, 7), np.float32),
        reward=np.zeros(steps, np.float32),
        success=False,
        terminated=False,
        signals=signals,
    )


def test_a_failed_reach_counts_half_a_subtask_at_most() -> None:
    libero = script("train_libero")
    reached = failure([0.3, 0.3, 0.3], [0.4, 0.1, 0.2])
    assert not libero.moved(reached) and libero.moved(failure([0.3, 0.2, 0.2], [0.4, 0.1, 0.2]))
    told = libero.labelled(reached, subtasks=3).metadata
    assert told["progress_ceiling"] == pytest.approx(0.75 * 0.5 / 3) and told["closest"] == 2


def test_gains_have_intervals() -> None:
    libero = script("train_libero")
    before, after = (
        {"successes": count, "episodes": 20, "success_rate": count / 20} for count in (5, 15)
    )
    gain = libero.compared(before, after)
    assert gain["points"] == pytest.approx(50) and 0 < gain["interval"][0] < 50


def test_importing_a_study_imports_no_simulator() -> None:
    import subprocess

    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import sim_throughput; "
        "print(sorted({'robosuite', 'libero', 'mujoco'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(ROOT / "benchmarks")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout == "[]\n", done.stderr
