from __future__ import annotations

import json
import shlex

import pytest
import tyro

from robo import doctor
from robo.cli import main
from robo.commands.carla_standin import CarlaStandin
from robo.doctor import run_carla_checks
from robo.errors import RoboError

pytest.importorskip("carla", reason="the CARLA client is not installed")

from robo.sim.carla import conformance
from robo.sim.carla.conformance import CheckResult
from robo.sim.carla.standin.process import start_process


def test_the_client_is_named() -> None:
    check = doctor.check_carla_client()
    assert check.ok and check.detail == doctor.CARLA_VERSION


def test_another_release_of_the_client_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "0.9.5")
    check = doctor.check_carla_client()
    assert not check.ok and check.mend == "pip install carla==0.9.16"


@pytest.mark.parametrize("address", ["2000", "localhost", "localhost:port", ":2000", "here:0"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(RoboError, match=r"is no HOST:PORT, such as localhost:2000"):
        list(run_carla_checks(address))


def test_what_differs_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [
        CheckResult("World.tick", True, "a frame", "7"),
        CheckResult("World.get_map", False, "a map", "nothing"),
    ]
    asked = []

    def answer(*place: object, **options: object) -> list[CheckResult]:
        asked.append((place, options))
        return results

    monkeypatch.setattr(conformance, "run_conformance_process", answer)
    assert main(["doctor", "--carla", "there:2000", "--json", "--keep-world"]) == 1
    assert asked == [(("there", 2000), {"change_world": False})]
    printed = json.loads(capsys.readouterr().out)
    parts = {check["part"]: check for check in printed["checks"]}
    assert parts["World.get_map"]["detail"] == "expected a map; found nothing"
    assert "World.tick" not in parts
    assert parts["CARLA at there:2000"]["detail"] == "1 of 2 calls do what CARLA 0.9.16 does"
    results.pop()
    reason = "the map has no traffic lights"
    results.append(CheckResult("TrafficLight.freeze", False, "it stands", reason, applicable=False))
    checks = {check.part: check for check in run_carla_checks("there:2000")}
    detail = f"1 of 1 calls do what CARLA 0.9.16 does; 1 not made, as {reason}"
    assert checks["CARLA at there:2000"].detail == detail and len(checks) == 2
    assert main(["doctor", "--carla", "there:2000"]) == 0
    assert "The server works." in capsys.readouterr().out


def test_the_command_that_starts_a_server_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = [CheckResult("connect", False, "a server", "nothing listens there")]
    monkeypatch.setattr(conformance, "run_conformance_process", lambda *place, **options: nobody)
    *_, check = run_carla_checks("127.0.0.1:2345")
    words = shlex.split(check.mend.rpartition(": ")[2])
    assert words[:2] == ["robo", "carla-standin"]
    command = tyro.cli(CarlaStandin, args=words[2:])
    assert (command.map, command.port) == ("Grid", 2345)


@pytest.mark.slow
def test_our_own_server_differs_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    with start_process("Junctions") as server:
        assert main(["doctor", "--carla", f"127.0.0.1:{server.port}", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"] and printed["checks"][0]["part"] == "CARLA client"
