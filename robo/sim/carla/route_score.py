"""The route score: what one route earned, composed as the CARLA leaderboard's driving score.

Source: the CARLA Autonomous Driving Leaderboard, "Evaluation and metrics": the driving score is
the completion in percent times the product of one factor per infraction; driving outside the
lanes takes its share off the completion. On anything but a real CARLA server and the
leaderboard's own routes and scenarios it is no leaderboard result, hence the other name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PENALTIES = {
    "collisions_walker": 0.50,
    "collisions_vehicle": 0.60,
    "collisions_static": 0.65,
    "red_lights": 0.70,
    "stop_signs": 0.80,
}
"""Factor for each single infraction."""

_COUNTED = {
    "collisions_walker": "collision_walker",
    "collisions_vehicle": "collision_vehicle",
    "collisions_static": "collision_static",
    "red_lights": "red_light",
    "stop_signs": "stop_sign",
    "route_deviations": "route_deviation",
    "blocked": "blocked",
    "off_road": "off_road",
}


@dataclass(frozen=True)
class RouteSummary:
    """One driven route."""

    route_completion: float = 0.0
    """Percent, 0 to 100."""
    collisions_walker: int = 0
    collisions_vehicle: int = 0
    collisions_static: int = 0
    red_lights: int = 0
    """Red lights run."""
    stop_signs: int = 0
    """Stop signs run."""
    route_deviations: int = 0
    """Times the route was left; ends it, without a factor."""
    blocked: int = 0
    """Times the ego stood too long; ends the route, without a factor."""
    off_road: int = 0
    """Times the road was left for good; ends the route, without a factor."""
    outside_distance: float = 0.0
    """m driven outside the lanes or in a wrong lane."""
    distance: float = 0.0
    """m driven."""
    time: float = 0.0
    """s."""
    route_length: float = 0.0
    """m."""

    @property
    def finished(self) -> bool:
        """Whether the route was driven to its end."""
        return self.route_completion >= 100.0

    @property
    def mean_speed(self) -> float:
        """m/s."""
        return self.distance / self.time if self.time > 0.0 else 0.0

    @property
    def collisions(self) -> int:
        """All collisions."""
        return self.collisions_walker + self.collisions_vehicle + self.collisions_static

    @property
    def penalty(self) -> float:
        """Product of the factors of all infractions, (0, 1]."""
        product = 1.0
        for name, factor in PENALTIES.items():
            product *= factor ** getattr(self, name)
        return product

    @property
    def outside_share(self) -> float:
        """Share of the driven way that was outside the lanes, [0, 1]."""
        return self.outside_distance / self.distance if self.distance > 0.0 else 0.0

    @property
    def score(self) -> float:
        """Route score, 0 to 100."""
        return self.route_completion * (1.0 - self.outside_share) * self.penalty

    def as_dict(self) -> dict[str, float]:
        """Fields and what follows from them, as numbers for JSON."""
        return {
            **asdict(self),
            "mean_speed": self.mean_speed,
            "collisions": self.collisions,
            "penalty": self.penalty,
            "outside_share": self.outside_share,
            "score": self.score,
            "finished": float(self.finished),
        }


class RouteRecorder:
    """Sums one episode's signals up to a :class:`RouteSummary`.

    An infraction that is signalled on several steps in a row counts once.
    """

    def __init__(self, route_length: float = 0.0) -> None:
        """An episode without steps yet; ``route_length`` in m."""
        self.route_length = route_length
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._on = dict.fromkeys(_COUNTED, False)
        self._completion = self._distance = self._outside = self._time = 0.0

    def update(self, signals: Mapping[str, float], delta: float) -> None:
        """Take the signals of one step of ``delta`` s."""
        for name, signal in _COUNTED.items():
            on = bool(signals[signal])
            self._counts[name] += on and not self._on[name]
            self._on[name] = on
        self._completion = signals["route_completion"]
        self._distance += signals["distance"]
        self._outside += signals["distance"] if signals["outside_lanes"] else 0.0
        self._time += delta

    def summary(self) -> RouteSummary:
        """What happened so far."""
        return RouteSummary(
            route_completion=self._completion,
            outside_distance=self._outside,
            distance=self._distance,
            time=self._time,
            route_length=self.route_length,
            **self._counts,
        )

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts."""
        return {
            "counts": dict(self._counts),
            "on": dict(self._on),
            "sums": [self._completion, self._distance, self._outside, self._time],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._counts = {name: int(count) for name, count in state["counts"].items()}
        self._on = {name: bool(on) for name, on in state["on"].items()}
        self._completion, self._distance, self._outside, self._time = map(float, state["sums"])


def aggregate(summaries: Sequence[RouteSummary]) -> dict[str, float]:
    """Means over routes, as the leaderboard's global figures.

    Returns:
        ``routes``; means over routes of ``score``, ``route_completion``, ``penalty``,
        ``finished`` and ``mean_speed`` (m/s); ``distance`` (m) and ``time`` (s) in all; for every
        kind of infraction the mean per route, and with ``_per_km`` per driven km.

    Raises:
        ValueError: no summaries.
    """
    if not summaries:
        raise ValueError("cannot aggregate no routes: drive at least one")
    rows = [summary.as_dict() for summary in summaries]
    count = len(rows)
    result: dict[str, float] = {"routes": float(count)}
    for name in ("score", "route_completion", "penalty", "finished", "mean_speed"):
        result[name] = sum(row[name] for row in rows) / count
    for name in ("distance", "time"):
        result[name] = sum(row[name] for row in rows)
    for name in ("collisions", *_COUNTED):
        total = sum(row[name] for row in rows)
        result[name] = total / count
        kilometers = result["distance"] / 1000.0
        result[f"{name}_per_km"] = total / kilometers if kilometers > 0.0 else 0.0
    return result
