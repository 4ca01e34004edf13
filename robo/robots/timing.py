"""How punctual a control loop was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

EDGES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Edges of the histograms, milliseconds; the last bin is open."""


@dataclass(frozen=True)
class Tick:
    """When one tick happened; seconds."""

    late: float
    """From the scheduled to the actual beginning."""
    read: float
    """Time that reading took."""
    answer: float | None
    """Time that the policy took for the newest chunk; None where none came."""
    sent: float | None
    """From the scheduled beginning to the command; None where none was sent."""
    skipped: int = 0
    """Ticks that were left out before this one, because the loop was late."""


@dataclass
class Timing:
    """The ticks of a loop."""

    period: float
    """Seconds between two ticks."""
    ticks: list[Tick] = field(default_factory=list)
    """In order."""

    def summary(self) -> dict[str, Any]:
        """Figures for the record, in milliseconds.

        Returns:
            ``ticks`` (scheduled ones, skipped included), ``deadlines_met`` (share of them whose
            command went out before the next tick), and of ``jitter`` (lateness of beginnings),
            ``read``, ``inference`` and ``latency`` (scheduled beginning to command) the
            percentiles ``p50``, ``p99``, ``max`` and a ``histogram`` over ``EDGES``.
        """
        scheduled = sum(1 + tick.skipped for tick in self.ticks)
        sent = [tick.sent for tick in self.ticks if tick.sent is not None]
        met = sum(latency <= self.period for latency in sent)
        parts = {
            "jitter": [tick.late for tick in self.ticks],
            "read": [tick.read for tick in self.ticks],
            "inference": [tick.answer for tick in self.ticks if tick.answer is not None],
            "latency": sent,
        }
        return {
            "period_ms": 1000 * self.period,
            "ticks": scheduled,
            "deadlines_met": met / scheduled if scheduled else None,
            **{name: spread(values) for name, values in parts.items()},
        }


def spread(seconds: Sequence[float]) -> dict[str, Any]:
    """Percentiles and histogram of durations, in milliseconds; None where there are none."""
    values = 1000 * np.asarray(seconds, np.float64)
    if not len(values):
        return {"p50": None, "p99": None, "max": None, "histogram": [0] * len(EDGES)}
    bins = np.searchsorted(EDGES, values, side="right") - 1
    return {
        "p50": float(np.percentile(values, 50)),
        "p99": float(np.percentile(values, 99)),
        "max": float(values.max()),
        "histogram": np.bincount(np.maximum(bins, 0), minlength=len(EDGES)).tolist(),
    }
