"""The real client's public API against our server, on built-in towns and on CARLA's own maps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from robo.sim.carla.conformance import CheckResult, lights, run_conformance_process
from robo.sim.carla.conformance.runner import all_checks, run_check
from robo.sim.carla.conformance.session import open_session

pytest.importorskip("carla", reason="the CARLA client is not installed")

from robo.sim.carla.standin.process import start_process

ROAD = """<?xml version="1.0"?>
<OpenDRIVE><header revMajor="1" revMinor="4" name="Road"/>
<road name="" length="100.0" id="0" junction="-1"><link/>
<planView><geometry s="0" x="0" y="0" hdg="0" length="100.0"><line/></geometry></planView>
<lanes><laneSection s="0"><center><lane id="0" type="none"/></center>
<right><lane id="-1" type="driving"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right>
</laneSection></lanes></road></OpenDRIVE>"""
FEWEST_CALLS = 60
TIMEOUT = 120.0


def maps_folder() -> Path:
    """Where CARLA's maps lie, if anywhere: they are not ours to ship."""
    beside = Path(__file__).parents[4].parent / "shared" / "maps"
    return Path(os.environ.get("ROBO_CARLA_MAPS", beside))


def carla_map(town: str) -> Path:
    path = maps_folder() / f"{town}.xodr"
    if not path.is_file():
        pytest.skip(f"no {town}.xodr: set ROBO_CARLA_MAPS to the folder of CARLA's OpenDRIVE maps")
    return path


def run(town: str | Path) -> list[CheckResult]:
    with start_process(town, seed=1) as server:
        results = run_conformance_process("127.0.0.1", server.port, timeout=TIMEOUT)
        assert server.poll() is None, list(server.errors)
    return results


def differences(town: str | Path) -> list[str]:
    """What the client saw that CARLA 0.9.16 does otherwise, every check made in one client."""
    results = run(town)
    # Only the town without traffic lights leaves out what they do.
    left_out = sum(not result.applicable for result in results)
    assert left_out == (len(lights.CHECKS) if town == "Junctions" else 0), results[-1]
    assert len(results) == len(all_checks()), results[-1]
    return [str(result) for result in results if result.differs]


def test_there_are_enough_distinct_calls() -> None:
    names = [check.name for check in all_checks()]
    assert len(names) == len(set(names)) >= FEWEST_CALLS


def test_grid() -> None:
    assert differences("Grid") == []


@pytest.mark.slow
@pytest.mark.parametrize("town", ["Junctions", "Multilane"])
def test_other_towns_of_ours(town: str) -> None:
    assert differences(town) == []


@pytest.mark.slow
@pytest.mark.parametrize("town", ["Town01", "Town02"])
def test_maps_of_carla(town: str) -> None:
    assert differences(carla_map(town)) == []


def test_what_cannot_be_checked_is_neither_passed_nor_failed(tmp_path: Path) -> None:
    road = tmp_path / "Road.xodr"
    road.write_text(ROAD)
    with start_process(road) as server, open_session("127.0.0.1", server.port) as session:
        results = [run_check(each, session) for each in lights.CHECKS]
    assert len(results) > 10
    for result in results:
        assert not (result.applicable or result.passed or result.differs)
        assert result.found == "the map has no traffic lights"


def test_a_dead_server_is_a_failed_check() -> None:
    server = start_process("Grid")
    server.kill()
    (result,) = run_conformance_process("127.0.0.1", server.port, timeout=60.0)
    assert isinstance(result, CheckResult)
    assert not result.passed
    assert "no CARLA server answers" in result.found
