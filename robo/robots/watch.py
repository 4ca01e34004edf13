"""What a reading says about robot and cameras: findings that hold or stop the arm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robo.robots.robot import Capabilities, Reading, View

Severity = Literal["hold", "stop"]


@dataclass(frozen=True)
class WatchConfig:
    """When a reading is not to be trusted. Times in seconds."""

    stale_after: float = 0.25
    """Age of frames and states from which the arm holds."""
    frozen_after: float = 0.4
    """Time without a changed pixel from which the arm holds; 0 never (noiseless cameras)."""
    future: float = 0.1
    """How far ahead of the clock a time stamp may be."""
    blank: float = 2.0
    """Grey levels that an image's brightest and darkest pixel must differ by."""
    tracking_after: float = 0.6
    """Time for which the arm may rest farther from its target than the tracking limit, or move
    at three times that."""
    joint_margin: float = 0.05
    """How far measured joints may lie outside their limits, rad."""
    speed_margin: float = 2.0
    """Factor over the joint speed limit from which a measured jump is an error."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    kind: str
    """A word for the record, such as "stale_frame"."""
    severity: Severity
    """"hold": may pass; "stop": may not."""
    detail: str
    """What was measured."""


class Watch:
    """Looks at each reading, and remembers what it must of earlier ones."""

    def __init__(self, config: WatchConfig, capabilities: Capabilities) -> None:
        """For one robot."""
        self.config, self.capabilities = config, capabilities
        self.reset()

    def reset(self) -> None:
        """Forget earlier readings: a new trial begins."""
        self._joints: tuple[float, np.ndarray] | None = None
        self._changed: dict[str, tuple[float, np.ndarray]] = {}
        self._behind: tuple[float, np.ndarray] | None = None

    def findings(self, reading: Reading, now: float, sent: np.ndarray | None) -> list[Finding]:
        """What is wrong with ``reading`` at time ``now``, after the command ``sent [D]``."""
        return [
            *self._state(reading, now),
            *self._views(reading, now),
            *self._force(reading),
            *self._tracking(reading, now, sent),
        ]

    # ------------------------------------------------------------------ the arm

    def _state(self, reading: Reading, now: float) -> Iterator[Finding]:
        expected = (len(self.capabilities.command),)
        if np.shape(reading.position) != expected:
            shape = np.shape(reading.position)
            yield Finding("wrong_state", "stop", f"position has shape {shape}, not {expected}")
            return
        vectors = {"position": reading.position, **reading.state}
        broken = [name for name, value in vectors.items() if not np.isfinite(value).all()]
        if broken or not math.isfinite(reading.time):
            yield Finding("not_finite", "stop", f"{', '.join(broken) or 'time'} holds NaN or inf")
            self._joints = None
            return
        yield from self._age("state", reading.time, now)
        caps = self.capabilities
        joints = reading.state.get("joints")
        if joints is not None and caps.joint_low is not None and caps.joint_high is not None:
            outside = np.maximum(caps.joint_low - joints, joints - caps.joint_high).max()
            if outside > self.config.joint_margin:
                yield Finding("joint_limit", "stop", f"a joint is {outside:.3f} rad outside")
            yield from self._jump(reading.time, joints)
        tool = reading.state.get("tool")
        if tool is not None and caps.box_low is not None and caps.box_high is not None:
            outside = np.maximum(caps.box_low - tool, tool - caps.box_high).max()
            if outside > 0:
                yield Finding("outside_box", "stop", f"the tool is {1000 * outside:.0f} mm outside")

    def _jump(self, time: float, joints: np.ndarray) -> Iterator[Finding]:
        before, self._joints = self._joints, (time, joints)
        limit = self.capabilities.joint_speed
        if before is None or limit is None or time <= before[0]:
            return
        allowed = self.config.speed_margin * limit * (time - before[0]) + 0.05
        excess = np.abs(joints - before[1]) / allowed
        if excess.max() > 1:
            joint = int(excess.argmax())
            moved = float(abs(joints - before[1])[joint])
            yield Finding("joint_jump", "stop", f"joint {joint + 1} jumped by {moved:.2f} rad")

    def _force(self, reading: Reading) -> Iterator[Finding]:
        force, limit = reading.state.get("force"), self.capabilities.force
        if force is not None and limit is not None and np.abs(force).max() > limit:
            measured = float(np.abs(force).max())
            yield Finding("force", "stop", f"{measured:.0f} N, limit {limit:.0f} N")

    def _tracking(self, reading: Reading, now: float, sent: np.ndarray | None) -> Iterator[Finding]:
        if sent is None or np.shape(reading.position) != np.shape(sent):
            self._behind = None
            return
        tracking = self.capabilities.command.tracking
        distance = np.abs(reading.position - sent) / tracking
        since, place = self._behind or (now, reading.position)
        moves = (np.abs(reading.position - place) > 0.2 * tracking).any()
        if distance.max() <= 1 or (moves and distance.max() <= 3):
            self._behind = None if distance.max() <= 1 else (now, reading.position)
            return
        self._behind = since, place
        if now - since > self.config.tracking_after:
            yield Finding("not_following", "stop", f"behind its target for {now - since:.2f} s")

    # ------------------------------------------------------------------ the cameras

    def _views(self, reading: Reading, now: float) -> Iterator[Finding]:
        for role, size in self.capabilities.views.items():
            view = reading.views.get(role)
            if view is None:
                yield Finding("missing_view", "hold", f"no frame of view {role}")
            elif view.image.shape != (*size, 3) or view.image.dtype != np.uint8:
                kind = f"{view.image.dtype} {view.image.shape}"
                yield Finding("wrong_frame", "hold", f"view {role} is {kind}")
            else:
                yield from self._age(f"view {role}", view.time, now)
                yield from self._pixels(role, view, now)

    def _age(self, what: str, taken: float, now: float) -> Iterator[Finding]:
        kind = "stale_state" if what == "state" else "stale_frame"
        if now - taken > self.config.stale_after:
            yield Finding(kind, "hold", f"{what} is {now - taken:.2f} s old")
        elif taken - now > self.config.future:
            yield Finding("clock", "hold", f"{what} is {taken - now:.2f} s in the future")

    def _pixels(self, role: str, view: View, now: float) -> Iterator[Finding]:
        if int(view.image.max()) - int(view.image.min()) < self.config.blank:
            yield Finding("blank_frame", "hold", f"view {role} shows one colour")
        since, image = self._changed.get(role, (now, None))
        if image is None or not np.array_equal(image, view.image):
            self._changed[role] = (view.time, view.image)
        elif self.config.frozen_after and view.time - since > self.config.frozen_after:
            yield Finding("frozen_frame", "hold", f"view {role} unchanged for {now - since:.2f} s")
