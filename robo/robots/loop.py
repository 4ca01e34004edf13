"""The control loop: a fixed rate, one safe command per tick, the policy thinking beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from robo.robots.actions import ActionMap
from robo.robots.chunks import ChunkBuffer
from robo.robots.inference import Answer, Inference
from robo.robots.policies import observation_of
from robo.robots.robot import Reading, RobotError
from robo.robots.safety import Envelope
from robo.robots.timing import Tick, Timing

DEFAULT_SECONDS = 10.0
Ending = Literal["solved", "time", "operator", "safety", "policy"]


@dataclass(frozen=True)
class LoopConfig:
    """How a policy is run."""

    rate: float = 20.0
    """Commands per second."""
    seconds: float = 0.0
    """Time limit of a trial; 0 takes that of the simulated robot's task, or 10 seconds."""
    actions: str = "tool_displacement"
    """What actions mean: tool_displacement (policies of mujoco/*), absolute, displacement or
    scaled."""
    inference: str = "thread"
    """Where the policy thinks: thread, process, or inline (inside the loop)."""
    ensemble: bool = True
    """Blend overlapping action chunks; False takes the newest."""
    decay: float = 0.01
    """Of the blend's weights, oldest first."""
    wait_share: float = 0.7
    """Share of the period that a tick without an action waits for one."""
    frame_stride: int = 5
    """Ticks between two recorded frames; first and last are always recorded."""

    def __post_init__(self) -> None:
        """Refuse what no loop can keep."""
        if not 0 < self.rate <= 1000 or not 0 <= self.seconds < math.inf:
            raise RobotError(
                f"rate is {self.rate} and seconds {self.seconds}, expected 0 to 1000 commands per "
                "second and a finite time limit"
            )
        if not 0 <= self.wait_share < 1 or self.frame_stride < 1:
            raise RobotError(
                f"wait_share is {self.wait_share} and frame_stride {self.frame_stride}, expected "
                "a share in [0, 1) and at least 1"
            )


@dataclass
class Trace:
    """What happened in one trial: L ticks, L + 1 readings."""

    states: list[dict[str, np.ndarray]] = field(default_factory=list)
    """Named vectors of each reading, and "position"."""
    frames: list[dict[str, np.ndarray]] = field(default_factory=list)
    """Recorded frames, role to uint8 ``[H, W, 3]``."""
    frame_step: list[int] = field(default_factory=list)
    """Index of the reading that each of them belongs to."""
    actions: list[np.ndarray] = field(default_factory=list)
    """The policy's blended action ``[A]``; NaN where there was none."""
    commands: list[np.ndarray] = field(default_factory=list)
    """The command that was sent ``[D]``; NaN where none was."""
    signals: list[dict[str, float]] = field(default_factory=list)
    """What ``signals`` returned after each tick."""
    timing: Timing = field(default_factory=lambda: Timing(0.05))
    """When each tick happened."""
    ending: Ending = "time"
    """Why it ended."""
    error: str = ""
    """What the policy raised, where that ended it."""


class ControlLoop:
    """Runs one trial after another on one envelope."""

    def __init__(
        self,
        envelope: Envelope,
        inference: Inference,
        action_map: ActionMap,
        config: LoopConfig | None = None,
        *,
        ended: Callable[[Reading], Ending | None] = lambda reading: None,
        signals: Callable[[], dict[str, float]] = dict,
        on_reading: Callable[[Reading], None] = lambda reading: None,
    ) -> None:
        """Put together.

        Args:
            envelope: connected.
            inference: the policy at work.
            action_map: actions to commands.
            config: rate and limits.
            ended: asked after each tick whether and why the trial is over.
            signals: named numbers to record after each tick.
            on_reading: shown each reading, for a live page; must return at once.
        """
        self.envelope, self.inference, self.action_map = envelope, inference, action_map
        self.config = config or LoopConfig()
        self.ended, self.signals, self.on_reading = ended, signals, on_reading
        self.clock = envelope.clock

    def run(self, seed: int = 0) -> Trace:
        """One trial from where the robot stands.

        Raises:
            RobotError: where the envelope does not let it begin.
        """
        config = self.config
        period = 1.0 / config.rate
        trace = Trace(timing=Timing(period))
        chunks = ChunkBuffer(config.ensemble, config.decay)
        self.inference.reset(seed)
        self.envelope.begin()
        start = self.clock.now()
        tick = 0
        last = math.ceil((config.seconds or DEFAULT_SECONDS) * config.rate - 1e-9)
        while True:
            self.clock.sleep_until(start + tick * period)
            late = self.clock.now() - (start + tick * period)
            skipped = int(late / period)
            tick += skipped
            reading = self._tick(trace, chunks, tick, start + tick * period, skipped)
            if reading is None or self._over(trace, reading) or tick + 1 >= last:
                break
            tick += 1
        self.envelope.end()
        self._finish(trace, start + (tick + 1) * period)
        return trace

    # ------------------------------------------------------------------ one tick

    def _tick(
        self, trace: Trace, chunks: ChunkBuffer, tick: int, scheduled: float, skipped: int
    ) -> Reading | None:
        began = self.clock.now()
        reading = self.envelope.read()
        if reading is None:
            trace.ending = "safety"
            return None
        read = self.clock.now() - began
        self._record(trace, reading)
        self.on_reading(reading)
        self.inference.submit(tick, observation_of(reading))
        answer = self._take(chunks, tick, scheduled)
        if answer is not None and answer.error:
            trace.ending, trace.error = "policy", answer.error
            self.envelope.hold("policy_error", answer.error)
        action = chunks.action(tick)
        sent = None
        if action is not None and trace.ending != "policy":
            command = self.action_map(action, self.envelope.last_sent, reading)
            sent = self.envelope.send(command)
        trace.actions.append(np.full(1, np.nan) if action is None else action)
        width = len(self.envelope.capabilities.command)
        trace.commands.append(np.full(width, np.nan) if sent is None else sent)
        now = self.clock.now()
        trace.timing.ticks.append(
            Tick(
                late=began - scheduled,
                read=read,
                answer=None if answer is None else answer.seconds,
                sent=None if sent is None else now - scheduled,
                skipped=skipped,
            )
        )
        trace.signals.append(self.signals())
        return reading

    def _take(self, chunks: ChunkBuffer, tick: int, scheduled: float) -> Answer | None:
        """Take in the policy's answer; wait for it only where this tick has no action yet."""
        until = scheduled + self.config.wait_share / self.config.rate
        newest = None
        while True:
            timeout = 0.0 if chunks.action(tick) is not None else until - self.clock.now()
            answer = self.inference.poll(max(timeout, 0.0))
            if answer is None or answer.actions is None:
                return answer or newest
            newest = answer
            # A chunk that comes too late altogether is used once: a slow policy still acts, and
            # the record says how late it was.
            chunks.add(max(answer.tick, tick - len(answer.actions) + 1), answer.actions)

    def _over(self, trace: Trace, reading: Reading) -> bool:
        if self.envelope.mode == "stopped":
            trace.ending = "safety"
        elif trace.ending != "policy":
            trace.ending = self.ended(reading) or "time"
        return trace.ending != "time"

    # ------------------------------------------------------------------ the record

    def _record(self, trace: Trace, reading: Reading, final: bool = False) -> None:
        step = len(trace.states)
        vectors = {"position": reading.position, **reading.state}
        trace.states.append({name: np.array(value) for name, value in vectors.items()})
        if reading.views and (final or step % self.config.frame_stride == 0):
            trace.frames.append({role: view.image for role, view in reading.views.items()})
            trace.frame_step.append(step)

    def _finish(self, trace: Trace, moment: float) -> None:
        """Read the state in which the trial ended; where that fails, repeat the last one."""
        if self.envelope.mode != "stopped":
            self.clock.sleep_until(moment)
            reading = self.envelope.read()
            if reading is not None:
                self._record(trace, reading, final=True)
        if len(trace.states) == len(trace.actions) and trace.states:
            trace.states.append(trace.states[-1])
