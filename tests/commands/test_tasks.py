from __future__ import annotations

import json

import pytest

import robo
from robo import cli
from robo.commands.tasks import SHOWN, summary
from robo.sim import registry


def test_many_ids_are_summed_up_unless_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delitem(registry.PROVIDERS, "envpool")  # installed or not
    ids = robo.tasks()
    assert cli.main(["tasks"]) == 0
    short = capsys.readouterr().out
    assert "mujoco/Lift" in short and "robo tasks --contains gym/" in short
    room = 40 if any(task.startswith("envpool/") for task in ids) else 30  # an extra's row
    assert len(short.splitlines()) < room and max(map(len, short.splitlines())) <= 100
    for argv in (["--all"], ["--contains", "gym/"]):
        assert cli.main(["tasks", *argv]) == 0
        shown = capsys.readouterr().out
        assert all(task in shown for task in ids if task.startswith("gym/"))
    assert cli.main(["tasks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"tasks": ids, "count": len(ids)}
    assert cli.main(["tasks", "--contains", "no such id"]) == 0
    assert "No task id contains" in capsys.readouterr().out


def test_examples_come_from_every_folder_of_ids() -> None:
    names = [f"libero/{suite}/{index}" for suite in ("goal", "spatial") for index in range(10)]
    assert summary(names) == [
        f"libero/{suite}/{i}" for suite in ("goal", "spatial") for i in (0, 1)
    ]
    assert summary(names[:SHOWN]) == names[:SHOWN]
