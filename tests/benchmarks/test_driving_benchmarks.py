"""The driving benchmarks: what they plan, what counts as met, and how they look at processes."""

from __future__ import annotations

import importlib
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"untrained": 9.0, "route_completion": 76.0, "collisions": 0.1, "minutes": 37.0}


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks are scripts: their helpers lie beside them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


# --- driving_smoke ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "worse",
    [
        {"untrained": 15.0},
        {"route_completion": 69.9},
        {"collisions": 0.5},
        {"minutes": 40.1},
        {"minutes": None},
    ],
)
def test_a_smoke_run_must_meet_every_figure(worse: dict[str, Any]) -> None:
    smoke = script("driving_smoke")
    assert smoke.met(GOOD) and not smoke.met({**GOOD, **worse})


def test_a_result_of_one_seed_names_the_others_as_missing(tmp_path: Path) -> None:
    smoke, study = script("driving_smoke"), script("_study").Study(tmp_path)
    options = smoke.Options(seeds=(1,), work=tmp_path)
    (run,) = smoke.planned(options, options.seeds)
    study.save(run, GOOD)
    found = smoke.collected(options, study)
    assert found["missing"] == ["smoke-s0", "smoke-s2"] and found["met"] == [True]
    assert found["median_route_completion"] == 76.0 and found["backend"] == "carla-standin"


def test_minutes_count_the_training_before_a_kill(tmp_path: Path) -> None:
    from robo.policies.checkpoint import Checkpoints
    from robo.policies.run_folder import RunFolder
    from robo.storage import write_json

    seconds, folder = script("driving_smoke").trained_seconds, RunFolder(tmp_path)
    assert seconds(tmp_path) == 0.0
    checkpoints = Checkpoints(folder.checkpoints)
    checkpoints.save({"seconds": 600.0}, 1)
    newest = checkpoints.save({"seconds": 1200.0}, 2)
    assert seconds(tmp_path) == 1200.0
    newest.write_bytes(b"damaged")
    assert seconds(tmp_path) == 600.0
    checkpoints.paths()[0].write_bytes(b"damaged")
    assert seconds(tmp_path) is None
    write_json(folder.result, {"wall_seconds": 1500.0})
    assert seconds(tmp_path) == 1500.0


# --- reward_scaling ---------------------------------------------------------------------------


def test_rewards_are_compared_over_finished_seeds(tmp_path: Path) -> None:
    scaling, study = script("reward_scaling"), script("_study").Study(tmp_path)
    runs = scaling.plan(scaling.Options(seeds=(0, 1)))
    assert len({run.name for run in runs}) == len(runs) == 8
    completion = {("route_completion", 256): 40.0, ("route_completion", 4096): 50.0}
    for run in runs:
        key = run.settings["reward"], run.settings["minibatch"]
        if key in completion:
            reached = completion[key] + 10 * run.settings["seed"]
            study.save(run, {"route_completion": reached, "score": 30.0, "collisions": 0.25})
    rows = scaling.rows_of(study, runs)
    assert [(row["minibatch"], row["ours"], row["seeds"]) for row in rows] == [
        (256, 45.0, 2),
        (4096, 55.0, 2),
    ]
    assert rows[1]["route_completion"] == [50.0, 60.0]
    # Roach's reward has no run yet, so nothing to compare.
    assert scaling.gains(rows) == {"route_completion": 10.0}


# --- server_kills -----------------------------------------------------------------------------

CALM = {
    "kills": 2,
    "seconds_without_server": [3.0, 4.0],
    "steps": 10,
    "steps_expected": 10,
    "parameters_finite": True,
    "figures_finite": True,
    "processes_left": 0,
    "ports_left": [],
}


@pytest.mark.parametrize(
    "worse",
    [
        {"kills": 1},
        {"seconds_without_server": [3.0]},  # one environment got no server any more
        {"seconds_without_server": [3.0, 21.0]},
        {"steps": 9},
        {"parameters_finite": False},
        {"figures_finite": False},
        {"processes_left": 1},
        {"ports_left": [2001]},
    ],
)
def test_a_run_with_kills_must_leave_nothing_and_go_on(worse: dict[str, Any]) -> None:
    kills = script("server_kills")
    assert kills.met(CALM, 2) and not kills.met({**CALM, **worse}, 2)


def test_figures_are_finite_only_where_there_are_some(tmp_path: Path) -> None:
    from torch.utils.tensorboard.writer import SummaryWriter

    finite = script("server_kills")._finite
    for name, values in {"none": [], "good": [1.0, 2.0], "bad": [1.0, math.nan]}.items():
        writer = SummaryWriter(str(tmp_path / name / "metrics"))
        for step, value in enumerate(values):
            writer.add_scalar("loss", value, step)
        writer.close()
    assert finite(tmp_path / "good")
    assert not finite(tmp_path / "bad") and not finite(tmp_path / "none")


@contextmanager
def sleeper(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child of this process with these words in its command."""
    code = "import sys, time; print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def test_servers_and_other_processes_below_this_one_are_found_until_they_end() -> None:
    kills = script("server_kills")
    with sleeper(kills.SERVER, "--port", "23456") as server, sleeper("worker") as worker:
        assert kills.Server(server.pid, os.getpid(), 23456) in list(kills.own_servers())
        assert worker.pid not in {server.pid for server in kills.own_servers()}
        assert {server.pid, worker.pid} <= kills.left_over(set())
    assert not {server.pid, worker.pid} & kills.left_over({server.pid})


def test_an_outage_ends_when_a_new_server_of_that_worker_answers() -> None:
    kills = script("server_kills")
    killer = kills.Killer(kills.Options())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert port in kills.listening()
        neighbour = kills.Server(pid=2, parent=10, port=port)
        elsewhere = kills.Server(pid=4, parent=11, port=port)
        silent = kills.Server(pid=5, parent=10, port=1)
        victim = kills.Server(pid=1, parent=10, port=2)
        killer.waiting = [kills.Outage(victim, 0.0, frozenset({1, 2}))]
        killer.look({server.pid: server for server in (neighbour, elsewhere, silent)})
        assert len(killer.waiting) == 1 and not killer.outages
        again = kills.Server(pid=6, parent=10, port=port)
        killer.look({again.pid: again})
        assert not killer.waiting and len(killer.outages) == 1
        # A server's streams take the port after its own.
        assert {port, port + 1} <= killer.ports


# --- carla_standin ----------------------------------------------------------------------------


def test_cars_that_the_traffic_manager_leaves_standing_end_the_benchmark() -> None:
    standin = script("carla_standin")
    row = next(row for row in standin.ROWS if row.traffic_manager)
    standin.check(row, standin.Measured(500.0, 0.6))
    with pytest.raises(SystemExit, match="50% of the cars"):
        standin.check(row, standin.Measured(500.0, 0.5))


def test_the_birdseye_row_is_in_milliseconds() -> None:
    standin = script("carla_standin")
    row = next(row for row in standin.ROWS if row.birdseye)
    found = standin._row(row, [500.0, 1000.0, 800.0], 9000.0)
    assert (found["ours"], found["met"], found["spread_ours"]) == (1.25, True, [1.0, 2.0])
    assert not standin._row(row, [500.0], 9000.0)["met"]


def test_birdseye_scenes_are_crowded() -> None:
    carla = pytest.importorskip("carla")
    from robo.sim.carla import birdseye
    from robo.sim.carla.standin.towns import town

    city = carla.Map("Grid", town("Grid"))
    scenes = script("_birdseye_scenes").Scenes(city, 20)
    state, route = scenes.scene(len(scenes) + 3)
    away = np.hypot(*(state.vehicles.center - state.ego.location)[:, :2].T)
    # In the picture, and none in the ego's own place.
    assert len(away) == 20 and away.min() > 1.0 and away.max() < 78.0
    renderer = birdseye.BirdseyeRenderer(city)
    frame = renderer.render(state, route, 0)
    for name in ("ROAD", "ROUTE", "MARKINGS", "VEHICLES", "LINES"):
        assert frame[getattr(birdseye, name)].any(), name
