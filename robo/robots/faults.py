"""Faults that the simulated robot shows on demand, and what must become of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from robo.robots.robot import RobotError


class Kind(NamedTuple):
    """One kind of fault."""

    summary: str
    """What the robot does wrong."""
    magnitude: float
    """Its default size, see the summary for the unit."""
    answer: str
    """How the envelope must answer at least: "hold" or "stop"."""
    deadline: float
    """Seconds after its beginning by which it must have answered, with the default settings."""


KINDS: dict[str, Kind] = {
    "dropped_frames": Kind("no new camera frames", 0, "hold", 0.45),
    "late_frames": Kind("frames arrive MAGNITUDE s after they were taken", 0.6, "hold", 0.45),
    "frozen_camera": Kind("fresh time stamps, old pixels", 0, "hold", 0.70),
    "blank_camera": Kind("frames of one colour", 0, "hold", 0.20),
    "missing_view": Kind("one camera is gone", 0, "hold", 0.20),
    "wrong_size": Kind("frames of another size", 0, "hold", 0.20),
    "latency": Kind("reading takes MAGNITUDE s", 0.5, "hold", 0.35),
    "hang": Kind("reading does not return for MAGNITUDE s", 3.0, "stop", 1.45),
    "lost_connection": Kind("reading and sending fail", 0, "stop", 0.20),
    "send_error": Kind("sending fails", 0, "stop", 0.20),
    "joint_error": Kind("an encoder gives NaN", 0, "stop", 0.20),
    "joint_jump": Kind("an encoder is off by MAGNITUDE rad", 0.8, "stop", 0.20),
    "encoder_noise": Kind("noise of MAGNITUDE rad on all encoders", 0.6, "stop", 0.60),
    "stale_state": Kind("the state's time stamp stands still", 0, "hold", 0.45),
    "clock_jump": Kind("time stamps MAGNITUDE s in the future", 5.0, "hold", 0.20),
    "deaf": Kind("commands are not followed", 0, "stop", 1.50),
    "force": Kind("the force sensor reads MAGNITUDE N", 500.0, "stop", 0.20),
}


@dataclass(frozen=True)
class Fault:
    """One fault, when it begins and how long it lasts."""

    kind: str
    """A key of ``KINDS``."""
    start: float = 1.0
    """Seconds after the trial's scene was prepared."""
    duration: float = float("inf")
    """Seconds."""
    magnitude: float = 0.0
    """Its size; 0 takes the kind's own."""

    def __post_init__(self) -> None:
        """Refuse unknown kinds and impossible times."""
        if self.kind not in KINDS:
            raise RobotError(f"fault {self.kind!r} does not exist, expected one of {list(KINDS)}")
        if not self.start >= 0 or not self.duration > 0:
            raise RobotError(
                f"fault {self.kind} starts at {self.start} s for {self.duration} s, expected a "
                "start of at least 0 and a duration above 0"
            )

    @property
    def size(self) -> float:
        """The magnitude, or the kind's own."""
        return self.magnitude or KINDS[self.kind].magnitude

    def active(self, elapsed: float) -> bool:
        """Whether it shows ``elapsed`` seconds into the trial."""
        return self.start <= elapsed < self.start + self.duration


_TEXT = re.compile(r"(\w+)(?:@([\d.]+))?(?:\+([\d.]+))?(?:\*([\d.]+))?")


def parse_fault(text: str) -> Fault:
    """The fault of the text ``KIND@START+DURATION*MAGNITUDE``; all but the kind may be left out.

    Raises:
        RobotError: for any other text.
    """
    found = _TEXT.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        kind, start, duration, magnitude = found.groups()
        return Fault(kind, float(start or 1.0), float(duration or "inf"), float(magnitude or 0.0))
    except ValueError as error:
        raise RobotError(
            f"fault {text!r} must be KIND@START+DURATION*MAGNITUDE, such as frozen_camera@1.5+0.5"
        ) from error
