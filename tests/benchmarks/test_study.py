from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks._study import Run, Study, execute, machine, publish
from robo.errors import RoboError

ROOT = Path(__file__).resolve().parents[2]


def work(run: Run, folder: Path) -> dict[str, Any]:
    """Count how often the run was done; die or wait where it says so."""
    assert not any(folder.iterdir())
    with (folder.parent / "log.txt").open("a") as log:
        log.write(f"{run.name} {os.getpid()}\n")
    (folder / "leftover").touch()
    if run.settings.get("die"):
        os._exit(11)
    time.sleep(run.settings.get("seconds", 0.0))
    return {"square": run.settings["number"] ** 2}


def done(folder: Path) -> list[str]:
    return [line.split()[0] for line in (folder / "log.txt").read_text().splitlines()]


def test_runs_once_each_in_processes_of_their_own_and_again_only_where_missing(tmp_path):
    study = Study(tmp_path)
    runs = [Run(f"r{i}", {"number": i, "pair": (i, i)}) for i in range(3)]
    told: list[str] = []
    assert execute(study, runs, work, 2, on_done=lambda run, result: told.append(run.name)) == []
    assert sorted(told) == sorted(done(tmp_path)) == ["r0", "r1", "r2"]
    pids = {line.split()[1] for line in (tmp_path / "log.txt").read_text().splitlines()}
    assert len(pids) == 3 and str(os.getpid()) not in pids
    result = study.result(runs[2])
    assert result is not None and result["square"] == 4 and result["wall_seconds"] >= 0
    study.path(runs[1]).unlink()
    execute(study, runs, work)
    assert done(tmp_path)[3:] == ["r1"]


def test_other_settings_are_another_run(tmp_path):
    study = Study(tmp_path)
    execute(study, [Run("r", {"number": 2})], work)
    changed = Run("r", {"number": 3})
    assert study.result(changed) is None and study.missing([changed]) == [changed]
    execute(study, [changed], work)
    assert (study.result(changed) or {})["square"] == 9


def test_a_run_that_dies_is_told_and_costs_no_other(tmp_path):
    study = Study(tmp_path)
    bad, good = Run("bad", {"number": 0, "die": True}), Run("good", {"number": 1})
    told: dict[str, Any] = {}
    failed = execute(study, [bad, good], work, on_done=lambda run, r: told.update({run.name: r}))
    assert failed == [bad] and told["bad"] is None and told["good"]["square"] == 1
    assert study.missing([bad, good]) == [bad]


def test_no_run_starts_after_the_minutes_are_over(tmp_path):
    study = Study(tmp_path)
    runs = [Run(f"r{i}", {"number": i}) for i in range(3)]
    assert execute(study, runs, work, minutes=1e-9) == []
    assert study.missing(runs) == runs and not (tmp_path / "log.txt").exists()
    with pytest.raises(RoboError, match="workers is 0"):
        execute(study, runs, work, workers=0)


def test_machine_names_no_host_and_publish_ends_with_json(tmp_path, capsys):
    named = machine()
    assert named["cpu"] and named["torch"] and named["mujoco"] and named["date"]
    assert os.uname().nodename not in json.dumps(named)
    publish({"figure": float("nan"), "machine": named}, tmp_path / "results" / "x.json")
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == json.loads((tmp_path / "results" / "x.json").read_text())
    assert printed["figure"] is None


@pytest.mark.slow
def test_shaping_value_end_to_end(tmp_path):
    command = [
        *(sys.executable, "benchmarks/shaping_value.py", "--arms", "true_keep", "--seeds", "0"),
        *("--total-steps", "3840", "--work", str(tmp_path / "work"), "--plot"),
        *("--out", str(tmp_path / "out" / "r.json")),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        result = json.loads(ran.stdout.splitlines()[-1])
        assert result["finished"] == 1 and result["arms"]["true_keep"]["steps_to_90"] == [None]
        assert abs(result["arms"]["true_keep"]["worst_hacking_excess"]) < 1e-5
    assert len(ran.stdout.splitlines()) == 1  # the second time nothing was run
    assert (tmp_path / "out" / "r.png").stat().st_size > 1000
