"""Rate, chunks and inference beside the loop; the arm does what the trained task's arm does."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.robots.actions import action_map
from robo.robots.chunks import ChunkBuffer
from robo.robots.clock import VirtualClock, WallClock
from robo.robots.inference import ThreadInference, make_inference
from robo.robots.loop import ControlLoop, LoopConfig
from robo.robots.policies import Observation, ScriptedPolicy, load_robot_policy
from robo.robots.robot import RobotError, SceneControl
from robo.robots.timing import Tick, Timing
from robo.sim.mujoco.simulation import Simulations
from robo.sim.mujoco.tasks import TASKS


class Sleeper:
    """Takes its time, and tells which observation a chunk was made from."""

    def __init__(self, seconds: float = 0.02, length: int = 1) -> None:
        self.seconds, self.length = seconds, length

    def reset(self, seed: int) -> None:
        pass

    def __call__(self, observation: Observation) -> np.ndarray:
        time.sleep(self.seconds)
        return np.zeros((self.length, 4))


def make_loop(rig, policy, inference: str = "inline", **options) -> ControlLoop:
    thinking = make_inference(inference, lambda: policy, rig.clock)
    mapped = action_map("tool_displacement", rig.envelope.capabilities)
    return ControlLoop(rig.envelope, thinking, mapped, LoopConfig(**options))


@pytest.mark.parametrize("task", ["Reach", "Lift"])
def test_a_punctual_loop_moves_the_arm_as_in_training(task: str, make_rig) -> None:
    rig = make_rig(task=f"mujoco/{task}")
    assert isinstance(rig.robot, SceneControl)
    rig.robot.prepare(11)
    trace = make_loop(rig, ScriptedPolicy(f"mujoco/{task}", 0.3), seconds=1.0).run(seed=5)
    simulation, policy = Simulations(TASKS[task](), 1, 1), ScriptedPolicy(f"mujoco/{task}", 0.3)
    simulation.start(np.array([0]), [11])
    policy.reset(5)
    for state in trace.states[:-1]:
        observation = simulation.observe()[0]
        assert state["state"] == pytest.approx(observation, abs=1e-6)
        simulation.advance(policy({"state": observation}))
    assert len(trace.actions) == 20 and len(trace.states) == 21


@pytest.mark.parametrize("inference", ["thread", "process"])
@pytest.mark.alone
def test_the_policy_thinks_beside_the_loop(inference: str, make_rig) -> None:
    rig = make_rig(WallClock())
    thinking = make_inference(inference, partial(Sleeper, 0.02), rig.clock)
    mapped = action_map("tool_displacement", rig.envelope.capabilities)
    trace = ControlLoop(rig.envelope, thinking, mapped, LoopConfig(seconds=1.0)).run()
    thinking.close()
    summary = trace.timing.summary()
    assert summary["ticks"] == 20 and summary["deadlines_met"] >= 0.5  # others run too
    assert 20 <= summary["inference"]["p50"] <= 45
    assert 20 <= summary["latency"]["p50"] <= 50
    assert sum(summary["jitter"]["histogram"]) == len(trace.timing.ticks)


@pytest.mark.alone
def test_chunks_bridge_a_policy_slower_than_the_loop(make_rig) -> None:
    rig = make_rig(WallClock())
    loop = make_loop(rig, Sleeper(0.12, length=8), "thread", seconds=1.2)
    trace = loop.run()
    loop.inference.close()
    sent = [tick.sent is not None for tick in trace.timing.ticks]
    assert all(sent[4:]) and "hold" not in rig.actions()


def test_answers_of_an_earlier_trial_are_dropped() -> None:
    thinking = ThreadInference(Sleeper(0.1), WallClock())
    thinking.reset(0)
    assert thinking.submit(7, {})
    assert not thinking.submit(8, {})
    thinking.reset(1)
    assert thinking.submit(0, {})
    answer = thinking.poll(2.0)
    assert answer is not None and answer.tick == 0
    thinking.close()


def test_processes_report_what_went_wrong() -> None:
    with pytest.raises(RobotError, match="no policy 'nonsense'"):
        make_inference("process", partial(load_robot_policy, "nonsense", "x"), WallClock())


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 8)), min_size=1, max_size=6),
    st.floats(0, 2),
)
def test_ensembles_weigh_the_oldest_most(gaps: list[tuple[int, int]], decay: float) -> None:
    buffer, plain, chunks, tick = ChunkBuffer(True, decay), ChunkBuffer(False), [], 0
    for number, (gap, length) in enumerate(gaps):
        tick += gap
        actions = np.full((length, 2), float(number)) + np.arange(length)[:, None] / 100
        buffer.add(tick, actions)
        plain.add(tick, actions)
        chunks.append((tick, actions))
    reaching = [actions[tick - s] for s, actions in chunks if s <= tick < s + len(actions)]
    weight = np.exp(-decay * np.arange(len(reaching)))
    expected = (weight[:, None] * np.array(reaching)).sum(axis=0) / weight.sum()
    assert buffer.action(tick) == pytest.approx(expected)
    assert plain.action(tick) == pytest.approx(reaching[-1])
    assert buffer.action(tick + 10) is None


def test_timing_counts_what_was_skipped_and_what_was_late() -> None:
    ticks = [
        Tick(0.0, 0.001, 0.02, 0.03),
        Tick(0.004, 0.001, None, 0.06, 2),
        Tick(0, 0, None, None),
    ]
    found = Timing(0.05, ticks).summary()
    assert found["ticks"] == 5 and found["deadlines_met"] == pytest.approx(1 / 5)
    assert found["jitter"]["max"] == pytest.approx(4.0) and sum(found["jitter"]["histogram"]) == 3
    assert Timing(0.05).summary()["deadlines_met"] is None


def test_a_late_loop_skips_ticks_and_keeps_the_beat(make_rig) -> None:
    rig = make_rig(VirtualClock())
    clock = rig.clock
    calls = iter([0.0] * 5 + [0.13] + [0.0] * 100)

    def signals() -> dict[str, float]:
        clock.sleep_until(clock.now() + next(calls))
        return {}

    loop = make_loop(rig, Sleeper(0.0), seconds=1.0)
    loop.signals = signals
    trace = loop.run()
    assert [tick.skipped for tick in trace.timing.ticks if tick.skipped] == [1]
    assert trace.timing.summary()["ticks"] == 20


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: LoopConfig(rate=0), "rate"),
        (lambda: LoopConfig(seconds=float("inf")), "finite"),
        (lambda: LoopConfig(wait_share=1.0), "wait_share"),
        (lambda: ChunkBuffer(decay=-1), "decay"),
        (lambda: ChunkBuffer().add(0, np.zeros(3)), r"\(H, A\)"),
        (lambda: make_inference("magic", lambda: Sleeper(), WallClock()), "magic"),
        (lambda: load_robot_policy("expert:x", "mujoco/Lift"), "NOISE"),
        (lambda: load_robot_policy("nowhere:Thing", "x"), "cannot be imported"),
        (lambda: load_robot_policy("script:", "mujoco/Lift"), "no policy"),
    ],
)
def test_what_cannot_run_is_refused(call, words: str) -> None:
    with pytest.raises(RobotError, match=words):
        call()
