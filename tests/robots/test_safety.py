"""Whatever is asked for, the arm stays inside box, step and speed, and nothing goes around that."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robo.robots.clock import VirtualClock
from robo.robots.limits import limit_command
from robo.robots.robot import Capabilities, CommandSpace, Reading, Robot, RobotError
from robo.robots.safety import Envelope, SafetyConfig, SafetyEvent

ROOT = Path(__file__).parent.parent.parent
PERIOD = 0.05


def adversary(generator: np.random.Generator, index: int, last: np.ndarray) -> object:
    """Random and hostile commands, one kind after another."""
    corners = np.where(generator.random(4) < 0.5, -1e3, 1e3)
    kinds: list[Callable[[], object]] = [
        lambda: last + generator.normal(0, 0.02, 4),
        lambda: generator.uniform(-1, 1, 4),
        lambda: corners,
        lambda: np.where(generator.random(4) < 0.3, np.nan, last),
        lambda: np.where(generator.random(4) < 0.3, np.inf, last),
        lambda: generator.choice([1e308, -1e308, 5e-324, -0.0], 4),
        lambda: np.array([0.72, 0.30, 0.012, 0.0]) if index % 2 else np.array([0.28, -0.3, 0.4, 1]),
        lambda: generator.normal(size=generator.integers(0, 9)),
        lambda: last + 1e-12,
        lambda: None if index % 3 else "up",
        lambda: np.full((2, 2), 0.3),
        lambda: np.array([0.5 + 0.2 * np.sin(index / 3), 0.3 * np.cos(index / 5), 0.012, 0.02]),
    ]
    return kinds[(index // 40) % len(kinds)]()


@pytest.mark.parametrize(
    "task", ["mujoco/Reach", pytest.param("mujoco/Lift", marks=pytest.mark.slow)]
)
def test_the_arm_never_leaves_box_step_or_speed(task: str, make_rig) -> None:
    rig, generator = make_rig(task=task), np.random.default_rng(0)
    envelope, clock, caps = rig.envelope, rig.clock, rig.envelope.capabilities
    space = caps.command
    envelope.begin()
    before, sent_before = None, envelope.last_sent
    tick = clock.now()
    for index in range(5_200):  # twice: over 10,000
        reading = envelope.read()
        assert reading is not None
        tool = reading.state["tool"]
        assert (tool >= caps.box_low).all() and (tool <= caps.box_high).all()
        assert (reading.state["joints"] >= caps.joint_low).all()
        assert (reading.state["joints"] <= caps.joint_high).all()
        if before is not None and reading.time > before.time:
            speed = np.linalg.norm(tool - before.state["tool"]) / (reading.time - before.time)
            assert speed <= caps.tool_speed
        before = reading
        sent = envelope.send(adversary(generator, index, envelope.last_sent))  # type: ignore[arg-type]
        if sent is not None:
            assert (sent >= space.low).all() and (sent <= space.high).all()
            assert (np.abs(sent - sent_before) <= space.step + 1e-12).all()
            sent_before = sent
        if envelope.mode == "stopped":
            envelope.restart()
            rig.robot.prepare(index)
            clock.sleep_until(clock.now() + 1)
            envelope.begin()
            before, tick = None, clock.now()
        if envelope.mode == "holding":
            sent_before = np.clip(reading.position, space.low, space.high)
        # Now and then in between, and sometimes too soon.
        tick += PERIOD if index % 7 else generator.uniform(0.0, PERIOD)
        clock.sleep_until(tick)
        if sent is None:
            sent_before = envelope.last_sent
    kinds = {event.kind for event in rig.events if event.action == "limit"}
    assert {"range", "step", "not_finite", "shape"} <= kinds


class Recorder:
    """The smallest driver: joint targets, and a memory of everything that it was told."""

    def __init__(self, capabilities: Capabilities, clock: VirtualClock) -> None:
        self.capabilities, self.clock = capabilities, clock
        self.at = capabilities.home.copy()
        self.told: list[np.ndarray] = []
        self.calls: list[str] = []

    def connect(self) -> None:
        self.calls.append("connect")

    def read(self) -> Reading:
        return Reading(self.clock.now(), self.at.copy())

    def send(self, command: np.ndarray) -> None:
        self.told.append(command.copy())
        self.at = command.copy()
        command[:] = 99.0  # a driver that scribbles must not harm the envelope

    def hold(self) -> None:
        self.calls.append("hold")

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


def joint_arm() -> Capabilities:
    """Two links of 0.4 m in a plane: the box binds joint targets by forward kinematics."""

    def forward(joints: np.ndarray) -> np.ndarray:
        first, second = joints[0], joints[0] + joints[1]
        x = 0.4 * np.cos(first) + 0.4 * np.cos(second)
        return np.array([x, 0.4 * np.sin(first) + 0.4 * np.sin(second), 0.1])

    return Capabilities(
        name="two links",
        command=CommandSpace(
            ("shoulder", "elbow", "gripper"),
            low=np.array([-1.5, 0.1, 0.0]),
            high=np.array([1.5, 2.5, 1.0]),
            step=np.array([0.1, 0.1, 0.3]),
            speed=np.array([1.5, 1.5, 9.0]),
            tracking=np.array([0.3, 0.3, 1.0]),
            alone=(2,),
        ),
        home=np.array([0.0, 1.0, 0.5]),
        views={},
        box_low=np.array([0.2, -0.3, 0.0]),
        box_high=np.array([0.75, 0.6, 0.2]),
        forward=forward,
    )


number = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-4, 4)


@given(st.lists(st.tuples(arrays(float, 3, elements=number), st.floats(0, 0.2)), max_size=30))
def test_every_command_that_reaches_a_driver_keeps_every_limit(steps) -> None:
    clock, caps = VirtualClock(), joint_arm()
    robot = Recorder(caps, clock)
    assert isinstance(robot, Robot)
    envelope = Envelope(robot, clock=clock)
    envelope.connect()
    envelope.begin()
    for wanted, wait in steps:
        if envelope.mode == "stopped":
            envelope.restart()
            envelope.begin()
        envelope.send(wanted)
        clock.sleep_until(clock.now() + wait)
        envelope.read()
    space = caps.command
    assert caps.forward is not None
    for before, command in pairwise([caps.home, *robot.told]):
        assert (command >= space.low).all() and (command <= space.high).all()
        assert (np.abs(command - before) <= space.step + 1e-9).all()
        assert (caps.forward(command) >= caps.box_low - 1e-9).all()
        assert (caps.forward(command) <= caps.box_high + 1e-9).all()
    envelope.close()


def test_direction_is_kept_where_a_change_is_scaled() -> None:
    caps = joint_arm()
    found = limit_command(np.array([0.4, 1.2, 0.9]), caps.home, PERIOD, caps)
    change = found.command - caps.home
    assert change[0] / change[1] == pytest.approx(0.4 / 0.2)
    assert change[0] == pytest.approx(1.5 * PERIOD) and change[2] == pytest.approx(0.3)
    assert set(found.hits) == {"step", "speed"}
    assert limit_command(caps.home + 0.01, caps.home, PERIOD, caps).hits == ()


def test_no_code_but_the_envelope_sends() -> None:
    senders = {}
    for path in [*(ROOT / "robo").rglob("*.py"), *(ROOT / "launch").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if node.func.attr == "send" and "robot" in owner.lower():
                    senders.setdefault(path.name, []).append(owner)
    assert senders == {"safety.py": ["self._robot"]}


def test_commands_before_the_beginning_after_the_end_and_after_a_stop_go_nowhere(make_rig) -> None:
    rig = make_rig()
    envelope, home = rig.envelope, rig.envelope.capabilities.home
    assert envelope.send(home) is None
    envelope.begin()
    assert envelope.send(home) is not None
    envelope.end()
    assert envelope.send(home) is None
    envelope.begin()
    envelope.stop("operator")
    assert envelope.send(home) is None
    with pytest.raises(RobotError, match=r"stopped \(operator\).*restart"):
        envelope.begin()
    envelope.restart()
    envelope.begin()
    assert [event.action for event in rig.events] == ["stop", "restart"]


def test_watchdog_holds_then_stops_without_commands(make_rig) -> None:
    rig = make_rig()
    rig.envelope.begin()
    rig.clock.sleep_until(rig.clock.now() + 0.24)
    assert rig.envelope.mode == "running"
    rig.clock.sleep_until(rig.clock.now() + 0.05)
    assert rig.envelope.mode == "holding"
    assert rig.envelope.read() is not None
    assert rig.envelope.mode == "holding"  # a clean reading is not enough: commands are missing
    rig.clock.sleep_until(rig.clock.now() + 1.1)
    assert rig.envelope.mode == "stopped"
    assert [event.kind for event in rig.events] == ["command_deadline", "held_too_long"]


def test_a_command_ends_the_hold_for_want_of_commands(make_rig) -> None:
    rig = make_rig()
    rig.envelope.begin()
    rig.clock.sleep_until(rig.clock.now() + 0.4)
    assert rig.envelope.send(rig.envelope.last_sent) is None
    rig.envelope.read()
    rig.clock.sleep_until(rig.clock.now() + PERIOD)
    assert rig.envelope.send(rig.envelope.last_sent) is not None
    assert rig.actions() == ["hold", "resume"]


def test_stop_from_another_thread_while_the_driver_hangs() -> None:
    clock, caps = VirtualClock(), joint_arm()
    inside, release = threading.Event(), threading.Event()

    class Hanging(Recorder):
        def send(self, command: np.ndarray) -> None:
            inside.set()
            release.wait(5)

    robot = Hanging(caps, clock)
    events: list[SafetyEvent] = []
    envelope = Envelope(robot, clock=clock, on_event=events.append)
    envelope.connect()
    envelope.begin()
    sender = threading.Thread(target=envelope.send, args=(caps.home,))
    sender.start()
    assert inside.wait(5)
    envelope.stop("operator", "key")
    assert envelope.mode == "stopped" and robot.calls[-1] == "stop"
    assert [(event.action, event.kind) for event in events] == [("stop", "operator")]
    release.set()
    sender.join()


def test_a_robot_whose_events_cannot_be_recorded_stops(make_rig) -> None:
    rig = make_rig()

    def full(event: SafetyEvent) -> None:
        raise OSError("no space left on device")

    rig.envelope.begin()
    rig.envelope.on_event = full
    rig.clock.sleep_until(rig.clock.now() + 0.5)  # the watchdog holds, and cannot say so
    assert rig.envelope.mode == "stopped" and "no space" in rig.envelope.reason
    assert rig.envelope.send(rig.envelope.capabilities.home) is None


@pytest.mark.parametrize("answer", [None, "hello", Reading(0.0, np.zeros(5)), Reading(0.0, None)])  # type: ignore[arg-type]
def test_a_driver_that_returns_nonsense_is_stopped(answer: object) -> None:
    robot = Recorder(joint_arm(), VirtualClock())
    envelope = Envelope(robot, clock=robot.clock)
    envelope.connect()
    envelope.begin()
    robot.read = lambda: answer  # type: ignore[method-assign, assignment, return-value]
    envelope.read()
    assert envelope.mode == "stopped" and robot.calls[-1] == "stop"
    with pytest.raises(RobotError):
        envelope.restart()
        envelope.begin()


def test_drivers_errors_are_sentences() -> None:
    class Broken(Recorder):
        def connect(self) -> None:
            raise OSError("no such port")

    with pytest.raises(RobotError, match=r"cannot be connected \(OSError: no such port\)"):
        Envelope(Broken(joint_arm(), VirtualClock())).connect()


def test_home_walks_inside_the_limits(make_rig) -> None:
    rig = make_rig(task="mujoco/Lift")
    envelope = rig.envelope
    envelope.begin()
    for _ in range(12):
        envelope.send(envelope.last_sent + np.array([0.02, 0.02, -0.01, 0.0]))
        rig.clock.sleep_until(rig.clock.now() + PERIOD)
        envelope.read()
    assert envelope.home() and envelope.mode == "idle"
    reading = rig.robot.read()
    assert np.abs(reading.position[:3] - envelope.capabilities.home[:3]).max() < 0.03
    assert "stop" not in rig.actions()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SafetyConfig(command_deadline=1e9), "cannot be turned off"),
        (lambda: SafetyConfig(stop_after=0), "cannot be turned off"),
        (lambda: SafetyConfig(speed_share=2), "share"),
        (lambda: replace(joint_arm().command, step=np.array([1.0, np.inf, 1.0])), "without limits"),
        (lambda: replace(joint_arm().command, low=np.full(3, 9.0)), "low < high"),
    ],
)
def test_settings_that_would_turn_it_off_are_refused(call, words: str) -> None:
    with pytest.raises(RobotError, match=words):
        call()
