"""Errors of the stand-in server that its clients may read."""

from __future__ import annotations

from robo.errors import RoboError


class StandinError(RoboError):
    """A request that cannot be served; its text is sent to the client, which raises it."""
