"""The adapter across its process boundary: an arm that behaves, hangs, dies, or is not there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from robo.robots.lerobot import LeRobotConfig, LeRobotRobot
from robo.robots.robot import RobotError
from robo.robots.safety import Envelope, SafetyEvent

ROOT = Path(__file__).parent.parent.parent
ENTRY = {"low": -90, "high": 90, "step": 5, "speed": 100, "tracking": 15, "home": 0}
LIMITS = {
    "one.pos": ENTRY,
    "two.pos": {**ENTRY, "home": 10},
    "gripper.pos": {**ENTRY, "low": 0, "high": 100, "step": 20, "speed": 400, "alone": True},
}

Make = Callable[..., LeRobotRobot]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = []

    def build(limits: dict = LIMITS, kind: str = "tests.robots.lerobot_arm:Arm", **config):
        path = tmp_path / "limits.json"
        path.write_text(json.dumps(limits))
        made.append(
            LeRobotRobot(
                LeRobotConfig(type=kind, config=json.dumps(config), limits=path, timeout=1.0)
            )
        )
        return made[-1]

    yield build
    for robot in made:
        robot.close()


@pytest.mark.alone
def test_an_arm_that_behaves(make: Make) -> None:
    robot = make()
    envelope = Envelope(robot)
    caps = envelope.connect()
    assert caps.command.names == ("one.pos", "two.pos", "gripper.pos")
    assert caps.views == {"wrist": (24, 32)} and caps.command.alone == (2,)
    reading = envelope.begin()
    assert reading.position.tolist() == [0.0, 10.0, 50.0]
    assert abs(reading.time - time.monotonic()) < 0.5
    sent = envelope.send(np.array([90.0, 10.0, 50.0]))
    assert sent is not None and sent[0] == pytest.approx(5.0)
    after = envelope.read()
    assert after is not None and after.position == pytest.approx(sent)
    assert after.views["wrist"].image.shape == (24, 32, 3)
    envelope.stop("operator")
    robot.send(np.zeros(3))  # a stopped robot takes no commands, whoever sends them
    assert robot.read().position == pytest.approx(sent)
    envelope.close()
    robot.close()


@pytest.mark.alone
def test_a_hanging_arm_is_stopped_by_ending_its_process(make: Make) -> None:
    robot = make(trouble="hang", after=2)
    events: list[SafetyEvent] = []
    envelope = Envelope(robot, on_event=events.append)
    envelope.connect()
    envelope.begin()
    began = time.monotonic()
    assert envelope.read() is None
    assert time.monotonic() - began < 3.0
    assert envelope.mode == "stopped"
    assert [event.action for event in events] == ["hold", "stop"]
    with pytest.raises(RobotError):
        robot.read()
    envelope.close()


@pytest.mark.parametrize(
    ("trouble", "words"), [("die", "process ended"), ("raise", "motor 2 does not answer")]
)
def test_an_arm_in_trouble(trouble: str, words: str, make: Make) -> None:
    events: list[SafetyEvent] = []
    envelope = Envelope(make(trouble=trouble, after=2), on_event=events.append)
    envelope.connect()
    envelope.begin()
    assert envelope.read() is None
    assert events[-1].kind == "read_error" and words in events[-1].detail
    envelope.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trouble": "port"}, "no such port"),
        ({"kind": "tests.robots.lerobot_arm:Leg"}, "Leg"),
        ({"limits": {"one.pos": ENTRY}}, "does not fit"),
        ({"limits": {"one.pos": {"low": 0}}}, "cannot read the limits"),
        ({"limits": {**LIMITS, "one.pos": {**ENTRY, "high": -95}}}, "low < high"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict, words: str, make: Make) -> None:
    with pytest.raises(RobotError, match=words):
        make(**options).connect()


def test_settings_that_are_missing() -> None:
    with pytest.raises(RobotError, match="limits"):
        LeRobotRobot(LeRobotConfig(type="so101_follower"))


@pytest.mark.skipif(
    "ROBO_LEROBOT_PYTHON" not in os.environ,
    reason="set ROBO_LEROBOT_PYTHON to the Python of an environment with lerobot",
)
def test_lerobot_itself_builds_its_robots(make: Make) -> None:
    robot = make(kind="so101_follower", port="/dev/null", id="test")
    python = os.environ["ROBO_LEROBOT_PYTHON"]
    object.__setattr__(robot.config, "python", python)
    with pytest.raises(RobotError, match=r"refused 'connect'") as error:
        robot.connect()  # the robot is built; its port is none
    assert "decod" not in str(error.value).lower()
    assert "ModuleNotFoundError" not in str(error.value)
