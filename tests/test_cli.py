from __future__ import annotations

import dataclasses
import errno
import importlib
import json
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from robo import cli
from robo.errors import RoboError, UnknownTaskError


@dataclass(frozen=True)
class Echo:
    """Says what it was told, or fails as it was told."""

    fail: str = ""
    """Which failure to show."""
    value: float = 1.5
    """A number to return."""
    out: Path | None = None
    """Run folder."""
    json: bool = False
    """Print the result."""

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError(f"value {self.value} must be at least 0")

    def run(self) -> dict[str, Any]:
        failures = {
            "bad": RoboError("the value 3 is wrong:\n  expected 4, so give 4"),
            "task": UnknownTaskError("no task 'x/Y': 'robo tasks' lists them"),
            "disk": OSError(errno.ENOSPC, "No space left on device", "episodes"),
            "other": OSError(errno.EIO, "Input/output error"),
            "bug": ZeroDivisionError("a bug"),
            "stop": KeyboardInterrupt(),
        }
        if self.fail in failures:
            raise failures[self.fail]
        return {"value": self.value, "ok": self.fail != "not ok"}


@pytest.fixture(autouse=True)
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands `echo` and `say twice`, kept beside robo's own."""
    monkeypatch.setattr(
        cli,
        "COMMANDS",
        {
            **cli.COMMANDS,
            "echo": cli.Entry("echo_module", "Echo", "Says what it was told"),
            "say twice": cli.Entry("echo_module", "Echo", "The same in two words"),
        },
    )
    real = importlib.import_module
    here = type("Module", (), {"Echo": Echo})
    monkeypatch.setattr(
        importlib,
        "import_module",
        lambda name, package=None: here if name == "echo_module" else real(name, package),
    )
    monkeypatch.delenv("ROBO_DEBUG", raising=False)


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name != "echo"])
def test_every_command_has_help_with_defaults(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: robo {name}" in shown and "--out" in shown and "default:" in shown


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name != "echo"])
def test_every_command_keeps_the_convention(name: str) -> None:
    entry = cli.COMMANDS[name]
    command = getattr(importlib.import_module(entry.module), entry.name)
    assert command.__dataclass_params__.frozen and command.__doc__
    defaults = {field.name: field.default for field in dataclasses.fields(command)}
    optional = defaults["out"] is None or isinstance(defaults["out"], Path)
    assert optional or defaults["out"] is dataclasses.MISSING  # a run that must have a folder
    assert defaults["json"] is False and callable(command.run)


def test_a_group_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data"]) == cli.EXIT_BAD_INPUT
    shown = capsys.readouterr().out
    assert "data info" in shown and "data verify" in shown and "doctor" not in shown
    assert cli.main(["data", "--help"]) == 0


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["trian"], "did you mean 'robo train'?"),
        (["data", "verfiy"], "did you mean 'robo data verify'?"),
        (["qqqq"], "'robo --help' lists the commands"),
    ],
)
def test_unknown_command(argv: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == cli.EXIT_BAD_INPUT
    captured = capsys.readouterr()
    assert hint in captured.err and captured.out == ""


def test_unknown_option_and_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["echo", "--nothing", "3"]) == cli.EXIT_BAD_INPUT
    assert cli.main(["say", "twice", "--help"]) == 0
    assert "1.5" in capsys.readouterr().out


def test_json_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["echo", "--value", "2.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"value": 2.5, "ok": True}


def test_numbers_that_json_lacks_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["echo", "--value", "nan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["value"] is None


def test_run_folder_holds_config_and_result(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    assert cli.main(["echo", "--value", "2.5", "--out", str(out)]) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["value"] == 2.5 and config["fail"] == "" and config["command"] == "echo"
    assert config["robo_version"] == "0.1.0"
    assert json.loads((out / "result.json").read_text()) == {"value": 2.5, "ok": True}
    before = (out / "config.json").read_bytes(), (out / "result.json").read_bytes()
    (out / "result.json").unlink()
    assert cli.main(config["arguments"]) == 0
    assert before == ((out / "config.json").read_bytes(), (out / "result.json").read_bytes())
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "result.json"]


def test_a_result_that_is_not_ok_is_written_and_fails(tmp_path: Path) -> None:
    assert cli.main(["echo", "--fail", "not ok", "--out", str(tmp_path)]) == cli.EXIT_FAILED
    assert json.loads((tmp_path / "result.json").read_text())["ok"] is False


@pytest.mark.parametrize(
    ("fail", "sentence"),
    [
        ("bad", "robo: the value 3 is wrong: expected 4, so give 4\n"),
        ("task", "robo: no task 'x/Y': 'robo tasks' lists them\n"),
        ("disk", "robo: the disk is full at episodes: free some space and run the command again\n"),
    ],
)
def test_bad_input_is_one_sentence(
    fail: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["echo", "--fail", fail]) == cli.EXIT_BAD_INPUT
    captured = capsys.readouterr()
    assert captured.err == sentence and captured.out == ""


def test_a_value_that_the_config_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["echo", "--value", "-1"]) == cli.EXIT_BAD_INPUT
    captured = capsys.readouterr()
    assert "value -1.0 must be at least 0" in captured.err + captured.out
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(("fail", "kind"), [("bug", "ZeroDivisionError"), ("other", "OSError")])
def test_a_bug_shows_its_traceback(
    fail: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["echo", "--fail", fail]) == cli.EXIT_FAILED
    error = capsys.readouterr().err
    assert "Traceback" in error and kind in error


def test_debug_shows_the_traceback_of_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROBO_DEBUG", "1")
    assert cli.main(["echo", "--fail", "bad"]) == cli.EXIT_BAD_INPUT
    assert "Traceback" in capsys.readouterr().err


def test_interrupt() -> None:
    assert cli.main(["echo", "--fail", "stop"]) == cli.EXIT_INTERRUPTED


def test_a_refused_run_changes_nothing(tmp_path: Path) -> None:
    assert cli.main(["echo", "--out", str(tmp_path)]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert cli.main(["echo", "--fail", "bad", "--out", str(tmp_path)]) == cli.EXIT_BAD_INPUT
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_that_stops_half_way_keeps_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Echo) -> dict[str, Any]:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "checkpoint-00000001.pt").write_bytes(b"whole")
        raise RoboError("the disk is full")

    monkeypatch.setattr(Echo, "run", run)
    argv = ["echo", "--value", "7", "--out", str(tmp_path)]
    assert cli.main(argv) == cli.EXIT_BAD_INPUT
    assert json.loads((tmp_path / "config.json").read_text())["value"] == 7


def test_another_commands_run_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["echo", "--out", str(tmp_path)]) == 0
    assert cli.main(["say", "twice", "--out", str(tmp_path)]) == cli.EXIT_BAD_INPUT
    assert "holds a run of 'robo echo'" in capsys.readouterr().err


def test_out_that_cannot_be_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert cli.main(["echo", "--out", str(out)]) == cli.EXIT_BAD_INPUT
        assert "cannot be used as a run folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_config_that_robo_did_not_write_is_kept(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("not json")
    assert cli.main(["echo", "--out", str(tmp_path)]) == cli.EXIT_BAD_INPUT
    assert (tmp_path / "config.json").read_text() == "not json"


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_closed_reader_is_no_traceback(size: int) -> None:
    # The reader leaves before the first write: `robo ... | true`.
    code = f"""
import sys, time
from robo import cli
cli._print_commands = lambda prefix: print("x" * {size}, flush=True)
time.sleep(0.3)
sys.exit(cli.main([]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == cli.EXIT_FAILED


def test_a_broken_pipe_to_a_worker_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(self: Echo) -> dict[str, Any]:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(Echo, "run", run)
    assert cli.main(["echo"]) == cli.EXIT_FAILED
    assert "BrokenPipeError" in capsys.readouterr().err


@pytest.mark.parametrize(
    "code",
    [
        "from robo import cli; assert cli.main(['train', '--help']) == 0",
        "from robo import cli; assert cli.main(['data', 'replay', '--help']) == 0",
        "import robo.sim.worker_process",
    ],
)
def test_help_and_worker_processes_start_without_torch(code: str) -> None:
    check = f"import sys; {code}; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_refused_run_leaves_no_new_folder(tmp_path: Path) -> None:
    out = tmp_path / "new"
    assert cli.main(["echo", "--fail", "bad", "--out", str(out)]) == cli.EXIT_BAD_INPUT
    assert not out.exists()


def test_robos_own_warnings_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(self: Echo) -> dict[str, Any]:
        warnings.warn_explicit("going on\nfrom 3", UserWarning, str(Path(cli.__file__)), 7)
        return {}

    monkeypatch.setattr(Echo, "run", run)
    assert cli.main(["echo"]) == 0
    assert capsys.readouterr().err == "warning: going on from 3\n"
