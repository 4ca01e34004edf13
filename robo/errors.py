"""The one exception family that command lines turn into a sentence and an exit code."""

from __future__ import annotations


class RoboError(Exception):
    """Bad input or a missing part; its text is one clear sentence for the user.

    The sentence names the value, what was expected and what to do. Command lines print it
    without a traceback and exit with code 2.
    """


class UnknownTaskError(RoboError, KeyError):
    """A task id that no simulator offers."""

    def __str__(self) -> str:
        """The sentence itself (``KeyError`` would print its repr)."""
        return str(self.args[0])


class MissingExtraError(RoboError, ImportError):
    """A simulator or model whose optional dependency is not installed."""


class CheckpointError(RoboError):
    """A checkpoint or model folder that is missing, damaged or of another shape."""


class StoreError(RoboError):
    """An episode store that is empty, damaged or of another schema."""


class ProcessSpentError(RoboError):
    """This process cannot go on, another one can: a worker process retires, and is replaced."""


class RenderingError(RoboError):
    """No working GL backend for camera images."""
