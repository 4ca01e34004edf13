"""The safety envelope: the one way to move a robot.

Every command is limited, every reading is watched, and a watchdog looks at the clock from a
thread of its own. What is wrong but may pass makes the arm *hold*; what may not, or lasts, makes
it *stop*, and only an operator's ``restart`` moves it again. Everything that happens is an event.

It lowers the risk of damage; it replaces neither the robot's own safety functions nor the
emergency stop button.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np

from robo.errors import RoboError
from robo.robots.clock import Clock, WallClock
from robo.robots.limits import limit_command
from robo.robots.robot import Capabilities, Reading, Robot, RobotError
from robo.robots.watch import Finding, Watch, WatchConfig

T = TypeVar("T")
Mode = Literal["idle", "running", "holding", "stopped"]


@dataclass(frozen=True)
class SafetyConfig:
    """The envelope's settings; limits themselves are the robot's."""

    command_deadline: float = 0.25
    """Seconds without a command, while a trial runs, after which the arm holds."""
    stop_after: float = 1.0
    """Seconds for which it may hold before it stops."""
    speed_share: float = 0.9
    """Share of the tool's speed limit that may be commanded."""
    fastest: float = 2.5
    """Commands per second, as a factor of the robot's rate; quicker ones are not sent."""
    home_timeout: float = 15.0
    """Seconds that the way home may take."""
    watch: WatchConfig = field(default_factory=WatchConfig)
    """When readings are not trusted."""

    def __post_init__(self) -> None:
        """Refuse what would turn the envelope off."""
        if not (0 < self.command_deadline <= 5 and 0 < self.stop_after <= 30):
            raise RobotError(
                f"command_deadline is {self.command_deadline} s and stop_after {self.stop_after} "
                "s, expected up to 5 and 30 s: the envelope cannot be turned off"
            )
        if not 0 < self.speed_share <= 1 or not self.fastest >= 1:
            raise RobotError(
                f"speed_share is {self.speed_share} and fastest {self.fastest}, expected a share "
                "in (0, 1] and a factor of at least 1"
            )


@dataclass(frozen=True)
class SafetyEvent:
    """Something that the envelope did."""

    time: float
    """Seconds of the clock."""
    action: Literal["limit", "refuse", "hold", "resume", "stop", "restart"]
    """What it did."""
    kind: str
    """Why, in a word."""
    detail: str = ""
    """What was measured."""


class Envelope:
    """Wraps a robot; nothing else holds it. Safe to use from several threads."""

    def __init__(
        self,
        robot: Robot,
        config: SafetyConfig | None = None,
        clock: Clock | None = None,
        on_event: Callable[[SafetyEvent], None] | None = None,
    ) -> None:
        """Nothing moves before :meth:`connect` and :meth:`begin`."""
        self._robot = robot
        self.config = config or SafetyConfig()
        self.clock: Clock = clock or WallClock()
        self.on_event = on_event
        self.mode: Mode = "idle"
        self.reason = ""
        self._lock = threading.RLock()
        self._sent: np.ndarray | None = None
        self._sent_at = self._active_at = self._held_at = 0.0
        self._watch: Watch | None = None
        self._end_watchdog: Callable[[], None] | None = None

    # ------------------------------------------------------------------ life

    def connect(self) -> Capabilities:
        """Connect the robot and start the watchdog.

        Raises:
            RobotError: where it cannot be connected.
        """
        self._try("connected", self._robot.connect)
        self._watch = Watch(self.config.watch, self.capabilities)
        self._end_watchdog = self.clock.every(0.02, self._look_at_clock)
        return self.capabilities

    @property
    def capabilities(self) -> Capabilities:
        """The robot's."""
        return self._robot.capabilities

    def close(self) -> None:
        """Hold, end the watchdog, close the robot."""
        if self._end_watchdog is not None:
            self._end_watchdog()
            self._end_watchdog = None
            if self.mode != "stopped":
                self._quietly(self._robot.hold)
        self.mode = "idle"
        self._robot.close()

    def begin(self) -> Reading:
        """Start driving: the first command is limited from where the arm stands.

        Raises:
            RobotError: after a stop, without :meth:`restart`; or where the first reading is not
                to be trusted.
        """
        if self.mode == "stopped":
            raise RobotError(f"the robot was stopped ({self.reason}): look at it, then restart it")
        if self._watch is None:
            raise RobotError("the robot is not connected: call connect() first")
        self._watch.reset()
        reading = self._try("read", self._robot.read)
        space = self.capabilities.command
        position = getattr(reading, "position", None)
        if np.shape(position) != (len(space),) or not np.isfinite(position).all():  # type: ignore[union-attr, arg-type]
            raise RobotError(f"the robot's position is {position}, expected {list(space.names)}")
        with self._lock:
            self._stands_at(reading)
            self.mode, self.reason = "running", ""
        return reading

    def end(self) -> None:
        """Stop driving: hold, and expect no commands."""
        with self._lock:
            if self.mode in ("running", "holding"):
                self.mode = "idle"
                self._quietly(self._robot.hold)

    def restart(self) -> None:
        """An operator has looked at a stopped robot: allow :meth:`begin` again."""
        with self._lock:
            if self.mode == "stopped":
                self._event("restart", "operator")
                self.mode, self.reason = "idle", ""

    # ------------------------------------------------------------------ driving

    def read(self) -> Reading | None:
        """The newest reading, watched; None where the robot could not be read."""
        assert self._watch is not None
        try:
            reading = self._robot.read()
            now = self.clock.now()
            found = self._watch.findings(reading, now, self._sent)
        except Exception as error:  # a driver may raise, or return, anything
            self.stop("read_error", f"{type(error).__name__}: {error}")
            return None
        with self._lock:
            if self.mode in ("running", "holding"):
                self._answer(found, reading, now)
        return reading

    def send(self, command: np.ndarray) -> np.ndarray | None:
        """Send the safe command nearest to ``command [D]``; what was sent, None where nothing."""
        with self._lock:
            now = self.clock.now()
            self._active_at = now
            if self.mode != "running" or self._sent is None:
                return None
            rate = self.capabilities.rate
            elapsed = now - self._sent_at
            if elapsed < 1.0 / (self.config.fastest * rate):
                self._event("refuse", "too_soon", f"{1000 * elapsed:.1f} ms after the last")
                return None
            # After a pause the arm stands still: no credit for the time in between.
            elapsed = min(elapsed, 1.5 / rate)
            share = self.config.speed_share
            safe, hits = limit_command(command, self._sent, elapsed, self.capabilities, share)
            for kind in hits:
                self._event("limit", kind)
            try:
                self._robot.send(safe.copy())
            except Exception as error:  # a driver may raise anything
                self.stop("send_error", str(error))
                return None
            self._sent, self._sent_at = safe, now
            return safe.copy()

    @property
    def last_sent(self) -> np.ndarray:
        """``[D]`` the last safe command, or where the arm stood at :meth:`begin`."""
        if self._sent is None:
            raise RobotError("nothing was sent yet: call begin() first")
        return self._sent.copy()

    def home(self) -> bool:
        """Walk to the home position inside every limit; whether it got there.

        Raises:
            RobotError: as :meth:`begin`.
        """
        self.begin()
        home, space = self.capabilities.home, self.capabilities.command
        start = self.clock.now()
        tick = start
        while self.mode in ("running", "holding"):
            if self.clock.now() - start > self.config.home_timeout:
                self._event("hold", "home_timeout")
                break
            reading = self.read()
            if reading is not None:
                near = np.abs(reading.position - home) <= np.maximum(space.tracking / 4, space.step)
                if near.all() and np.allclose(self.last_sent, home, atol=1e-6):
                    self.end()
                    return True
            self.send(home)
            tick += 1.0 / self.capabilities.rate
            self.clock.sleep_until(tick)
        self.end()
        return False

    # ------------------------------------------------------------------ holding and stopping

    def hold(self, kind: str, detail: str = "") -> None:
        """Hold until what was wrong has passed."""
        with self._lock:
            if self.mode != "running":
                return
            self.mode, self.reason, self._held_at = "holding", kind, self.clock.now()
            try:
                self._robot.hold()
            except Exception as error:  # a robot that cannot hold must stop
                self.stop("hold_error", f"{kind}: {error}")
                return
            self._event("hold", kind, detail)

    def stop(self, kind: str, detail: str = "") -> None:
        """Stop for good; from any thread, at any time, even while another call hangs."""
        locked = self._lock.acquire(timeout=0.05)
        try:
            if self.mode == "stopped":
                return
            self.mode, self.reason = "stopped", kind
            self._quietly(self._robot.stop)
            self._event("stop", kind, detail)
        finally:
            if locked:
                self._lock.release()

    def _answer(self, found: list[Finding], reading: Reading, now: float) -> None:
        for finding in found:
            if finding.severity == "stop":
                self.stop(finding.kind, finding.detail)
                return
        if found:
            self.hold(found[0].kind, found[0].detail)
        elif self.mode == "holding" and self._passed():
            self._event("resume", self.reason, f"after {now - self._held_at:.2f} s")
            self.mode, self.reason = "running", ""
            self._stands_at(reading)

    def _stands_at(self, reading: Reading) -> None:
        """Limit the next command from where the arm stands; an old target may be far."""
        space, now = self.capabilities.command, self.clock.now()
        self._sent = np.clip(reading.position, space.low, space.high)
        self._sent_at, self._active_at = now - 1.0 / self.capabilities.rate, now

    def _passed(self) -> bool:
        """Whether a clean reading ends this hold; one for want of commands needs a command too."""
        return self.reason != "command_deadline" or self._active_at > self._held_at

    def _look_at_clock(self) -> None:
        """The watchdog: no command, or a hold that lasts."""
        mode, now = self.mode, self.clock.now()
        if mode == "running" and now - self._active_at > self.config.command_deadline:
            detail = f"no command for {now - self._active_at:.2f} s"
            # A driver that hangs in send() has the lock: then there is nothing left to try.
            if self._lock.acquire(timeout=0.05):
                try:
                    self.hold("command_deadline", detail)
                finally:
                    self._lock.release()
            else:
                self.stop("command_deadline", detail)
        elif mode == "holding" and now - self._held_at > self.config.stop_after:
            self.stop("held_too_long", f"{self.reason} for {now - self._held_at:.2f} s")

    def _event(self, action: str, kind: str, detail: str = "") -> None:
        """Tell it; a robot whose events cannot be recorded must not go on moving."""
        try:
            if self.on_event is not None:
                self.on_event(SafetyEvent(self.clock.now(), action, kind, detail))  # type: ignore[arg-type]
        except Exception as error:  # a full disk, say; the trial's own record will tell
            if self.mode != "stopped":
                self.mode, self.reason = "stopped", f"record_error: {error}"
                self._quietly(self._robot.stop)

    @staticmethod
    def _try(done: str, call: Callable[[], T]) -> T:
        """Outside of a trial a driver's error is the caller's, in one sentence."""
        try:
            return call()
        except RoboError:
            raise
        except Exception as error:  # a driver may raise anything
            raise RobotError(
                f"the robot cannot be {done} ({type(error).__name__}: {error}): look at its power, "
                "cables and driver"
            ) from error

    @staticmethod
    def _quietly(call: Callable[[], None]) -> None:
        """Try; a robot that is gone cannot be told to rest."""
        try:
            call()
        except Exception:
            return
