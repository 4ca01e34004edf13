"""Keys from a terminal, read by a thread of its own."""

from __future__ import annotations

import contextlib
import select
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from robo.robots.operators import KEYS, Console


class Keyboard:
    """Passes keys on to a console: single keys from a terminal, lines from a pipe.

    A line is a key and, after a space, a note: ``f dropped the cube``. In a terminal ``n`` starts
    a note, which Enter ends.
    """

    def __init__(self, console: Console, stream: TextIO | None = None) -> None:
        """Read from ``stream``, standard input by default."""
        self.console, self._stream = console, stream or sys.stdin
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keyboard", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """End, and give the terminal back."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        if self._stream.isatty():
            with _single_keys(self._stream):
                self._read_keys()
        else:
            for line in self._stream:
                key, _, note = line.strip().partition(" ")
                self.console.press(key, note)
                if self._ended.is_set():
                    return

    def _read_keys(self) -> None:
        note: str | None = None
        while not self._ended.is_set():
            if not select.select([self._stream], [], [], 0.1)[0]:
                continue
            key = self._stream.read(1)
            if not key:
                return
            if note is not None:
                if key in "\r\n":
                    self.console.press("note", note)
                    note = None
                else:
                    note = note[:-1] if key in "\b\x7f" else note + key
            elif key == "n":
                note = ""
            elif key.lower() in KEYS:
                self.console.press(key)
            elif key in " \r\n":
                self.console.press("go")


@contextlib.contextmanager
def _single_keys(stream: TextIO) -> Iterator[None]:
    """The terminal without line editing; as it was, afterwards."""
    import termios
    import tty

    before = termios.tcgetattr(stream)
    try:
        tty.setcbreak(stream)
        yield
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)
