"""Time for robots and loops: the wall's, or a virtual one that costs nothing to wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Seconds that only go forward, waiting, and something done again and again meanwhile."""

    def now(self) -> float:
        """Seconds since an arbitrary start."""
        ...

    def sleep_until(self, moment: float) -> None:
        """Return at ``moment`` or, where it has passed, at once."""
        ...

    def every(self, period: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` each ``period`` seconds, whoever sleeps; returns what ends it."""
        ...


class WallClock:
    """Real time."""

    def now(self) -> float:
        """``time.monotonic``."""
        return time.monotonic()

    def sleep_until(self, moment: float) -> None:
        """Sleep; the kernel's timer is good to about 0.1 ms."""
        remaining = moment - time.monotonic()
        if remaining > 0:
            time.sleep(remaining)

    def every(self, period: float, callback: Callable[[], None]) -> Callable[[], None]:
        """A thread of its own, which calls at most once per period."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(period):
                callback()

        thread = threading.Thread(target=work, name="watchdog", daemon=True)
        thread.start()

        def end() -> None:
            ended.set()
            if thread is not threading.current_thread():
                thread.join(timeout=1.0)

        return end


class VirtualClock:
    """Time that passes only when its one owner sleeps: whole evaluations in seconds, repeatably.

    What :meth:`every` registered is called inside :meth:`sleep_until`, at its moments, by the
    sleeping thread.
    """

    def __init__(self, start: float = 0.0) -> None:
        """The first moment, seconds."""
        self._now = start
        self._repeated: list[tuple[float, Callable[[], None]]] = []
        self._due: list[float] = []

    def now(self) -> float:
        """Virtual seconds."""
        return self._now

    def sleep_until(self, moment: float) -> None:
        """Move to ``moment``, and call on the way what is due."""
        while self._due and min(self._due) <= moment:
            index = min(range(len(self._due)), key=self._due.__getitem__)
            self._now = max(self._now, self._due[index])
            period, callback = self._repeated[index]
            self._due[index] += period
            callback()
        self._now = max(self._now, moment)

    def every(self, period: float, callback: Callable[[], None]) -> Callable[[], None]:
        """See the class."""
        entry = (period, callback)
        self._repeated.append(entry)
        self._due.append(self._now + period)

        def end() -> None:
            if entry in self._repeated:
                index = self._repeated.index(entry)
                del self._repeated[index], self._due[index]

        return end
