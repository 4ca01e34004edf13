"""Every injected fault ends in hold or stop within its deadline, and in the record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from robo.robots.actions import action_map
from robo.robots.clock import VirtualClock, WallClock
from robo.robots.faults import KINDS, Fault, parse_fault
from robo.robots.inference import make_inference
from robo.robots.loop import ControlLoop, LoopConfig, Trace
from robo.robots.policies import Observation
from robo.robots.robot import RobotError
from robo.robots.trial_record import episode_of
from robo.rollout import EpisodeInfo

START = 0.6

EXPECTED = {
    "dropped_frames": "stale_frame",
    "late_frames": "stale_frame",
    "frozen_camera": "frozen_frame",
    "blank_camera": "blank_frame",
    "missing_view": "missing_view",
    "wrong_size": "wrong_frame",
    "latency": "command_deadline",
    "hang": "command_deadline",
    "lost_connection": "read_error",
    "send_error": "send_error",
    "joint_error": "not_finite",
    "joint_jump": "joint_jump",
    "encoder_noise": "joint_jump",
    "stale_state": "stale_state",
    "clock_jump": "clock",
    "deaf": "not_following",
    "force": "force",
}


class Sway:
    """Moves the tool to and fro, so that the arm is never at rest."""

    def reset(self, seed: int) -> None:
        self.count = 0

    def __call__(self, observation: Observation) -> np.ndarray:
        self.count += 1
        away = 1.0 if (self.count // 20) % 2 else -1.0
        return np.array([[0.0, away, 0.0, 0.0]])


def run(rig, seconds: float, inference: str = "inline") -> Trace:
    thinking = make_inference(inference, Sway, rig.clock)
    mapped = action_map("tool_displacement", rig.envelope.capabilities)
    rig.robot.prepare(3)
    rig.began = rig.clock.now()
    trace = ControlLoop(rig.envelope, thinking, mapped, LoopConfig(seconds=seconds)).run()
    thinking.close()
    return trace


def check(rig, trace: Trace, kind: str, slack: float = 0.0) -> None:
    wanted = KINDS[kind]
    answers = [event for event in rig.events if event.action in ("hold", "stop")]
    first = answers[0]
    assert first.kind == EXPECTED[kind], answers
    answer = next(e for e in answers if e.action == wanted.answer or e.action == "stop")
    after = answer.time - rig.began - START
    assert 0 <= after <= wanted.deadline + slack, (answer, after)
    info = EpisodeInfo("mujoco/Reach", initial_state=3)
    episode = episode_of(trace, rig.envelope.capabilities, info, False, {})
    assert episode is not None and len(episode) >= 10
    assert np.isfinite(episode.observation["state"]).all() and np.isfinite(episode.action).all()
    moving = episode.signals["sent"] > 0
    assert moving[:10].all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "latency"])
def test_fault_on_a_virtual_clock(kind: str, make_rig: Callable) -> None:
    size = 16 if EXPECTED[kind].endswith(("_frame", "_view")) else 0
    rig = make_rig(VirtualClock(), size=size, faults=(f"{kind}@{START}",))
    trace = run(rig, seconds=4.0)
    check(rig, trace, kind)
    assert trace.ending == "safety" and rig.envelope.mode == "stopped"  # none of them passed


@pytest.mark.parametrize("kind", ["hang", "latency"])
@pytest.mark.alone
def test_fault_in_real_time(kind: str, make_rig: Callable) -> None:
    rig = make_rig(WallClock(), faults=(f"{kind}@{START}+0.9",))
    rig.robot.inject([Fault(kind, START, 0.9, 1.6 if kind == "hang" else 0.0)])
    trace = run(rig, seconds=1.8, inference="thread")
    check(rig, trace, kind, slack=0.3)  # other processes run beside
    if kind != "hang":
        assert "resume" in rig.actions() and trace.ending == "time"


def test_a_short_fault_passes_and_the_trial_goes_on(make_rig: Callable) -> None:
    rig = make_rig(size=16, faults=(f"blank_camera@{START}+0.3",))
    trace = run(rig, seconds=2.0)
    answers = [action for action in rig.actions() if action != "limit"]
    assert answers == ["hold", "resume"] and trace.ending == "time"
    sent = [tick.sent is not None for tick in trace.timing.ticks]
    assert sent[-10:] == [True] * 10 and 4 <= sent.count(False) <= 9


def test_every_kind_is_listed_and_there_are_enough() -> None:
    assert set(EXPECTED) == set(KINDS) and len(KINDS) >= 10


@pytest.mark.parametrize("policy", ["slow", "broken", "nan", "wrong"])
def test_a_policy_that_misbehaves(policy: str, make_rig: Callable) -> None:
    rig = make_rig(VirtualClock())
    clock = rig.clock

    class Bad(Sway):
        def __call__(self, observation: Observation) -> np.ndarray:
            action = super().__call__(observation)
            if self.count < 12:
                return action
            if policy == "broken":
                raise RuntimeError("out of memory")
            if policy == "slow":
                clock.sleep_until(clock.now() + 0.4)
            return {"nan": action * np.nan, "wrong": np.zeros((0, 4))}.get(policy, action)

    thinking = make_inference("inline", Bad, clock)
    mapped = action_map("tool_displacement", rig.envelope.capabilities)
    loop = ControlLoop(rig.envelope, thinking, mapped, LoopConfig(seconds=3.0))
    if policy == "wrong":
        with pytest.raises(RobotError, match=r"shape \(0, 4\)"):
            loop.run()
        return
    trace = loop.run()
    kinds = {event.kind for event in rig.events}
    if policy == "broken":
        assert trace.ending == "policy" and "out of memory" in trace.error
        assert "policy_error" in kinds
    elif policy == "slow":
        assert "command_deadline" in kinds
        assert trace.timing.summary()["deadlines_met"] < 0.5
    else:
        assert "not_finite" in kinds and trace.ending == "time"


@pytest.mark.parametrize("text", ["frozen", "frozen_camera@x", "force@-1", "force+0", ""])
def test_faults_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(RobotError, match=r"expected|must be"):
        parse_fault(text)


def test_fault_texts() -> None:
    assert parse_fault("latency@1.5+0.5*0.2") == Fault("latency", 1.5, 0.5, 0.2)
    assert parse_fault("deaf").start == 1.0
