"""One trial: arrange the scene, run the policy, judge, and put it all on the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robo.robots.actions import action_map
from robo.robots.evaluation_config import EvaluationConfig
from robo.robots.evaluation_record import EvaluationRecord
from robo.robots.ghost import mismatch
from robo.robots.grm_judge import GRMJudge
from robo.robots.inference import Inference
from robo.robots.live_state import LiveState
from robo.robots.loop import ControlLoop, Ending, Trace
from robo.robots.operators import Judgement, Operator, Person
from robo.robots.plan import Trial
from robo.robots.robot import Reading, Robot, SceneControl
from robo.robots.safety import Envelope, SafetyEvent
from robo.robots.sealing import redacted
from robo.robots.trial_record import episode_of
from robo.rollout import EpisodeInfo

ROBOT_FAULTS = {
    "stale_frame",
    "stale_state",
    "frozen_frame",
    "blank_frame",
    "missing_view",
    "wrong_frame",
    "clock",
    "read_error",
    "send_error",
    "not_finite",
    "wrong_state",
    "joint_jump",
    "not_following",
    "held_too_long",
    "operator",
}
"""Reasons of a stop that say nothing about the policy: the trial is invalid."""


class TrialRunner:
    """Runs trials on one robot and writes them into one record."""

    def __init__(
        self,
        robot: Robot,
        envelope: Envelope,
        operator: Operator,
        record: EvaluationRecord,
        live: LiveState,
        config: EvaluationConfig,
        inference: Callable[[Trial], Inference],
        grm: GRMJudge | None = None,
    ) -> None:
        """Put together; the envelope is connected."""
        self.envelope, self.operator, self.record = envelope, operator, record
        self.live, self.config, self.inference, self.grm = live, config, inference, grm
        self.scene = robot if isinstance(robot, SceneControl) else None
        self.map = action_map(config.loop.actions, envelope.capabilities)
        self.events: list[SafetyEvent] = []
        self._current: dict[str, Any] = {}

    def on_event(self, event: SafetyEvent) -> None:
        """Keep a safety event: for the trial, in the journal, on the page."""
        self.events.append(event)
        detail = redacted(event.detail, self.record.codes.values())
        values = {"action": event.action, "reason": event.kind, "detail": detail}
        self.record.journal.write("safety", {**self._current, "time": event.time, **values})
        self.live.event(event)

    def run(self, trial: Trial, attempt: int) -> Judgement | None:
        """One attempt at ``trial``; None where the operator pauses (nothing is counted then).

        Raises:
            RobotError: where the robot is stopped and nobody is there to look at it.
        """
        number = trial.index + 1
        self._current = {"trial": trial.index, "attempt": attempt}
        self.record.journal.write("begin", self._current)
        if not self._free():
            return None
        wanted = self._arrange(trial, number)
        if not self.operator.ready(number):
            return None
        if isinstance(self.operator, Person) and not self._free():
            return None
        self.events = []
        self.live.set(phase="running")
        self.live.want({})
        trace = self._drive(trial)
        solved = self.scene.solved() if self.scene is not None else None
        self.live.set(phase="judging")
        judgement = self._judgement(number, trace, solved)
        if judgement is not None:
            self._commit(trial, attempt, trace, judgement, wanted)
        return judgement

    def look(self) -> None:
        """Show what the robot sees; called while an operator is waited for."""
        if self.envelope.mode == "stopped":
            self.live.set(mode="stopped", reason=self.envelope.reason)
            return
        reading = self.envelope.read()
        if reading is not None:
            self.live.show(reading)
        self.live.set(mode=self.envelope.mode, reason=self.envelope.reason)

    # ------------------------------------------------------------------ before

    def _free(self) -> bool:
        """Whether the robot may move; a stopped one needs someone who looked at it."""
        if self.envelope.mode != "stopped":
            return True
        if isinstance(self.operator, Person):
            self.live.set(phase="stopped", mode="stopped", reason=self.envelope.reason)
            if not self.operator.restarts(self.envelope.reason):
                return False
        elif self.scene is None:
            return False
        self.envelope.restart()
        return True

    def _arrange(self, trial: Trial, number: int) -> dict[str, np.ndarray]:
        """Arm home, scene as it should be or shown as it should be; the wanted views."""
        described = self.record_description(trial)
        self.live.set(phase="arranging", trial=number, task=trial.task, scene=described, message="")
        if self.scene is not None:
            self.scene.prepare(trial.initial_state)
            wanted = self.scene.wanted_views(trial.initial_state)
        else:
            self.envelope.home()
            wanted = self._stored_views(trial)
        self.live.want(wanted)
        return wanted

    def record_description(self, trial: Trial) -> str:
        """The initial state in words."""
        words = self.record.descriptions.get(str(trial.initial_state), "")
        return f"initial state {trial.initial_state}" + (f": {words}" if words else "")

    def _stored_views(self, trial: Trial) -> dict[str, np.ndarray]:
        """Views of the same initial state in an earlier trial."""
        import cv2

        found = {}
        for role in self.envelope.capabilities.views:
            image = cv2.imread(str(self.record.scene_path(trial.initial_state, role)))
            if image is not None:
                found[role] = image[..., ::-1]
        return found

    # ------------------------------------------------------------------ the trial itself

    def _drive(self, trial: Trial) -> Trace:
        loop = ControlLoop(
            self.envelope,
            self.inference(trial),
            self.map,
            self.config.loop,
            ended=self._ended,
            signals=self.scene.signals if self.scene is not None else dict,
            on_reading=self._show,
        )
        # Both policies of a pair draw the same noise, where they draw any.
        return loop.run(seed=trial.block)

    def _show(self, reading: Reading) -> None:
        self.live.show(reading)
        self.live.set(mode=self.envelope.mode, reason=self.envelope.reason)

    def _ended(self, reading: Reading) -> Ending | None:
        if self.operator.ends():
            return "operator"
        if self.operator.watches_success and self.scene is not None and self.scene.solved():
            return "solved"
        return None

    # ------------------------------------------------------------------ after

    def _judgement(self, number: int, trace: Trace, solved: bool | None) -> Judgement | None:
        if isinstance(self.operator, Person) or trace.ending not in ("safety", "policy"):
            return self.operator.judge(number, solved)
        reason = self.envelope.reason if trace.ending == "safety" else trace.error
        if trace.ending == "safety" and self._robot_at_fault(reason):
            return Judgement("invalid", "safety", f"stopped: {reason}")
        return Judgement("failure", "safety", f"stopped: {self._redacted(reason)}")

    def _robot_at_fault(self, reason: str) -> bool:
        """A hold that lasted counts by what made it hold."""
        if reason == "held_too_long":
            holds = [event.kind for event in self.events if event.action == "hold"]
            return not holds or holds[-1] in ROBOT_FAULTS
        return reason in ROBOT_FAULTS

    def _redacted(self, text: str) -> str:
        return redacted(text, self.record.codes.values())

    def _commit(
        self,
        trial: Trial,
        attempt: int,
        trace: Trace,
        judgement: Judgement,
        wanted: dict[str, np.ndarray],
    ) -> None:
        """Episode first, then the journal's line that makes the trial count."""
        caps = self.envelope.capabilities
        facts = {
            "trial": trial.index,
            "attempt": attempt,
            "block": trial.block,
            "code": trial.code,
            "task": trial.task,
            "initial_state": trial.initial_state,
            "outcome": judgement.outcome,
            "judge": judgement.by,
            "note": self._redacted(judgement.note),
            "ending": trace.ending,
            "error": self._redacted(trace.error),
            "seconds": len(trace.actions) * trace.timing.period,
            "timing": trace.timing.summary(),
            "events": _counted(self.events),
        }
        if trace.frames:
            first = trace.frames[0]
            apart = [mismatch(first[r], wanted[r]) for r in wanted if r in first]
            facts["scene_mismatch"] = float(np.mean(apart)) if apart else None
            if judgement.outcome != "invalid":
                self._keep_scene(trial, first)
        info = EpisodeInfo(
            task=trial.task,
            instruction=self.scene.instruction if self.scene is not None else trial.task,
            initial_state=trial.initial_state,
            group=trial.block,
        )
        success = judgement.outcome == "success"
        episode = episode_of(trace, caps, info, success, {**facts, "robot": caps.name})
        if episode is not None:
            facts["episode"] = self.record.store.append(episode)
            if self.grm is not None and episode.frames:
                facts |= self.grm.score(episode)
        self.record.commit(facts)

    def _keep_scene(self, trial: Trial, views: dict[str, np.ndarray]) -> None:
        """The first trial of an initial state shows how the others must begin."""
        import cv2

        for role, image in views.items():
            path: Path = self.record.scene_path(trial.initial_state, role)
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))


def _counted(events: list[SafetyEvent]) -> list[dict[str, Any]]:
    """Events by action and kind with their number, holds and stops first."""
    counts: dict[tuple[str, str], int] = {}
    for event in events:
        counts[event.action, event.kind] = counts.get((event.action, event.kind), 0) + 1
    ordered = sorted(counts.items(), key=lambda item: item[0][0] not in ("stop", "hold"))
    return [{"action": a, "kind": k, "count": n} for (a, k), n in ordered]
