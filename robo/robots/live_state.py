"""What the live page shows; written by the evaluation, read by the server's threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np

from robo.robots.ghost import fitted, overlay
from robo.robots.robot import Reading
from robo.robots.safety import SafetyEvent

SHOWN_HEIGHT = 360
"""Pixels; small frames are enlarged to it."""


class LiveState:
    """Blind by construction: it is never told a policy's name or code."""

    def __init__(self, total: int) -> None:
        """For an evaluation of ``total`` trials."""
        self._lock = threading.Lock()
        self._views: dict[str, np.ndarray] = {}
        self._wanted: dict[str, np.ndarray] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=12)
        self._fields: dict[str, Any] = {"total": total, "done": 0, "phase": "starting"}

    def set(self, **fields: Any) -> None:
        """Change what is shown: phase, trial, task, scene, mode, message ..."""
        with self._lock:
            self._fields.update(fields)

    def show(self, reading: Reading) -> None:
        """The newest frames."""
        with self._lock:
            self._views = {role: view.image for role, view in reading.views.items()}

    def want(self, views: dict[str, np.ndarray]) -> None:
        """How the scene should look; none turns the ghost off."""
        with self._lock:
            self._wanted = dict(views)

    def event(self, event: SafetyEvent) -> None:
        """Something that the envelope did."""
        if event.action == "limit":
            return
        shown = {"action": event.action, "kind": event.kind, "at": time.strftime("%H:%M:%S")}
        with self._lock:
            self._events.appendleft(shown)

    def snapshot(self) -> dict[str, Any]:
        """Everything but pixels, as JSON values."""
        with self._lock:
            return {
                **self._fields,
                "views": sorted(self._views),
                "ghost": sorted(self._wanted),
                "events": list(self._events),
            }

    def jpeg(self, role: str, ghost: bool) -> bytes | None:
        """One view as JPEG, with the wanted scene over it where asked; None without a frame."""
        import cv2

        with self._lock:
            image, wanted = self._views.get(role), self._wanted.get(role)
        if image is None:
            return None
        if ghost and wanted is not None:
            image = overlay(image, wanted)
        height, width = image.shape[:2]
        if height < SHOWN_HEIGHT:
            image = fitted(image, SHOWN_HEIGHT, width * SHOWN_HEIGHT // height)
        done, content = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))
        return content.tobytes() if done else None
