"""Benchmarks of videos and of the explorer: their verdict, and the exit code that it becomes."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path

import pytest

from benchmarks._browser import missing
from robo.data import EpisodeStore
from tests.web.conftest import episode

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks are scripts: their helpers lie beside them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize(
    ("seconds", "lacking", "played", "kept"),
    [
        (9.9, 0, True, True),
        (9.9, -45, None, True),  # the last picture is held; no browser here
        (10.1, 0, True, False),
        (9.9, 1, True, False),
        (9.9, 0, False, False),
    ],
)
def test_a_video_is_fast_whole_and_plays(seconds, lacking, played, kept):
    assert importlib.import_module("video_speed").holds(seconds, lacking, played) is kept


@pytest.mark.parametrize(
    ("seconds", "rate", "errors", "kept"),
    [
        (1.9, 25.0, [], True),
        (2.1, 25.0, [], False),
        (1.9, 19.0, [], False),
        (1.9, 25.0, ["a message"], False),
    ],
)
def test_the_explorer_opens_and_scrubs(seconds, rate, errors, kept):
    assert importlib.import_module("explorer_speed").holds(seconds, rate, errors) is kept


@pytest.mark.parametrize(("limit", "code"), [(60.0, 0), (0.0, 1)])
def test_the_exit_code_is_the_verdict(limit, code, tmp_path, monkeypatch, capsys):
    """The script as it is run, on a small video, with another limit."""
    script = (ROOT / "benchmarks" / "video_speed.py").read_text()
    assert "\nLIMIT = 10.0\n" in script
    changed = tmp_path / "video_speed.py"
    changed.write_text(script.replace("LIMIT = 10.0", f"LIMIT = {limit}"))
    small = "--frames 6 --views 1 --size 32 --width 640 --height 360 --repeats 1 --no-chromium"
    monkeypatch.setattr(sys, "argv", [str(changed), *small.split()])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(changed), run_name="__main__")
    assert int(ended.value.code) == code
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert measured["within_limit"] is (code == 0) and measured["held_frames"] == 45


@pytest.mark.slow
@pytest.mark.skipif(missing() is not None, reason=missing() or "")
def test_the_explorer_is_measured_from_its_command_on(tmp_path):
    with EpisodeStore(tmp_path / "store") as made:
        made.extend([episode(i) for i in range(3)])
    script = importlib.import_module("explorer_speed")
    few = {"starts": 2, "opens": 1, "drags": 1, "rewards": ("success",)}
    found = script.main(script.Options(store=tmp_path / "store", work=tmp_path, **few))
    assert found["episodes"] == 3 and found["console_errors"] == []
    low, high = found["command_to_drawn_seconds_range"]
    assert low <= found["command_to_drawn_seconds"] <= high
    assert low > max(found["open_seconds_while_scoring"], found["open_seconds"]) > 0
    assert found["scrub_per_second"] > 0
