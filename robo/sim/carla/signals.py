"""The signals of one driving step: detectors and map queries, assembled under fixed names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robo.sim.carla.driving_state import RED, YELLOW, Bodies, DrivingState, Ego
from robo.sim.carla.hazards import NO_HAZARD, gap_on_route, line_crossings
from robo.sim.carla.infractions.blocked import MAX_TIME, BlockedDetector
from robo.sim.carla.infractions.collision import collision_signals
from robo.sim.carla.infractions.comfort import ComfortDetector
from robo.sim.carla.infractions.counters import PENALTY_TICKS, TickCounter
from robo.sim.carla.infractions.off_road import is_off_road
from robo.sim.carla.infractions.outside_lanes import LanePosition, WrongLaneDetector, is_outside
from robo.sim.carla.infractions.red_light import RedLightDetector
from robo.sim.carla.infractions.route_deviation import MAX_DEVIATION, deviates
from robo.sim.carla.infractions.speed_limit import speed_limit
from robo.sim.carla.infractions.stop_sign import StopSignDetector
from robo.sim.carla.infractions.time_to_collision import violates_time_to_collision
from robo.sim.carla.lane_queries import LaneQuery
from robo.sim.carla.map_cache import MapCache
from robo.sim.carla.route_score import RouteRecorder, RouteSummary
from robo.sim.carla.routes import Route, RouteTracker
from robo.sim.carla.traffic_rules import light_stop_lines, stop_sign_lines

if TYPE_CHECKING:
    import carla

SIGNALS: dict[str, str] = {
    "route_completion": "percent of the route's length, 0 to 100, never decreasing",
    "delta_route_completion": "percentage points gained in this step",
    "outside_lanes": "0 or 1: more than half a lane and 0.5 m from any lane, or in a wrong lane",
    "wrong_lane": "0 or 1: on a lane of the opposite direction",
    "off_road": "0 or 1: 95 % of the car's footprint are off every lane and shoulder",
    "speed": "m/s in the plane",
    "speed_limit": "m/s",
    "ttc_active": "0 or 1: a time-to-collision violation now or in the last 500 ticks",
    "comfort_active": "0 to 6: comfort metrics violated now or in the last 500 ticks",
    "lateral_offset": "m from the centre of the nearest driving lane",
    "lane_width": "m, of that lane",
    "in_junction": "0 or 1: that lane lies in a junction",
    "collision": "0 or 1: anything was hit",
    "collision_vehicle": "0 or 1",
    "collision_walker": "0 or 1",
    "collision_static": "0 or 1",
    "collision_speed": "m/s just before the collision; 0 without one",
    "red_light": "0 or 1: ran a red light",
    "stop_sign": "0 or 1: ran a stop sign",
    "route_deviation": "0 or 1: more than 30 m from the route",
    "blocked": "0 or 1: stood for more than 90 s",
    "heading_error": "rad in [-pi, pi): heading minus the route's",
    "route_offset": "m from the route",
    "steer": "last command in [-1, 1]",
    "throttle": "last command in [0, 1]",
    "brake": "last command in [0, 1]",
    "steer_change": "absolute change of the steering command in this step",
    "distance": "m driven in this step",
    "vehicle_gap": "m along the route to the centre of the nearest vehicle in the way; else 1000",
    "walker_gap": "the same for pedestrians",
    "red_light_gap": "m along the route to the next stop line whose light is red or yellow",
    "stop_sign_gap": "m along the route to the next stop line of a sign not yet served",
    "mean_traffic_speed": "m/s, mean over all other vehicles; 0 without any",
}
"""Every signal with its meaning and unit. Gaps start at the ego's projection on the route."""

SIGNAL_NAMES = tuple(SIGNALS)

TERMINATIONS = (
    "collision",
    "red_light",
    "stop_sign",
    "blocked",
    "route_deviation",
    "off_road",
)
"""Signals that end an episode; the first that is set gives its reason."""

OF_A_STEP = (
    "delta_route_completion",
    "steer_change",
    "distance",
    "collision_vehicle",
    "collision_walker",
    "collision_static",
    "collision_speed",
    *TERMINATIONS,
)
"""Signals of what happened in a step; the others describe the state that it led to."""


def without_a_step(signals: Mapping[str, float] | None = None) -> dict[str, float]:
    """The signals where no step was made since ``signals``, or, with None, in the whole episode."""
    if signals is None:
        nothing = dict.fromkeys(SIGNAL_NAMES, 0.0)
        return {**nothing, **{name: NO_HAZARD for name in SIGNAL_NAMES if name.endswith("_gap")}}
    return {**signals, **dict.fromkeys(OF_A_STEP, 0.0)}


@dataclass(frozen=True)
class SignalConfig:
    """Limits of the detectors; the defaults are CaRL's."""

    delta: float = 0.1
    """s between steps, for the comfort filters."""
    penalty_ticks: int = PENALTY_TICKS
    """Ticks that a time-to-collision or comfort violation stays active."""
    blocked_time: float = MAX_TIME
    """s of standing after which the ego counts as blocked."""
    max_deviation: float = MAX_DEVIATION
    """m from the route at which it counts as left."""
    time_limit: float = 1200.0
    """s, for the critic's share of time left; the environment ends the episode."""


@dataclass(frozen=True)
class SignalStep:
    """What one step gave."""

    signals: dict[str, float]
    """Every name of SIGNAL_NAMES."""
    finished: bool
    """The route is done: fewer than two of its points are left."""
    ended_by: str
    """Infraction that ends the episode, of TERMINATIONS; "" for none. It outranks finished."""


light_lines = MapCache(light_stop_lines)
"""``light_lines(map)``: the light-controlled stop lines of a town, read once per process."""
sign_lines = MapCache(stop_sign_lines)
"""``sign_lines(map)``: the stop lines of stop signs, read once per process."""


class SignalBuilder:
    """All detectors of one environment; one call per step.

    The environment fills ``DrivingState.light_state`` in the order of :attr:`stop_lines`.
    """

    def __init__(self, map: carla.Map, config: SignalConfig | None = None) -> None:
        """Read the stop lines of ``map``; :meth:`reset` comes before the first step."""
        self.config = config or SignalConfig()
        self.stop_lines = light_lines(map)
        self.stop_signs = sign_lines(map)
        self._lanes = LaneQuery(map)
        self._red_light = RedLightDetector(self.stop_lines)
        self._stop_sign = StopSignDetector(self.stop_signs)
        self._wrong_lane = WrongLaneDetector()
        self._blocked = BlockedDetector(self.config.blocked_time)
        self._ttc = TickCounter(self.config.penalty_ticks)
        self._comfort = ComfortDetector(self.config.delta, ticks=self.config.penalty_ticks)
        self._last_location = np.zeros(3)
        self._last_speed = 0.0
        self._last_steer = 0.0
        self._recorder = RouteRecorder()
        self.tracker: RouteTracker
        """Progress along the route, after :meth:`reset`."""

    def reset(self, route: Route, state: DrivingState) -> None:
        """Begin an episode on ``route``; ``state`` is the first one and takes no step."""
        self._set_route(route)
        self.tracker.update(state.ego.location, state.ego.yaw)
        for detector in (self._red_light, self._stop_sign, self._wrong_lane):
            detector.reset()
        self._blocked.reset()
        self._comfort.reset()
        self._ttc.remaining = 0
        self._red_light.update(state.ego, state.light_state)
        self._stop_sign.update(state.ego)
        self._wrong_lane.update(self._lanes(state.ego)[1])
        self._remember(state)

    def _set_route(self, route: Route) -> None:
        self.tracker = RouteTracker(route)
        self._recorder = RouteRecorder(route.length)
        self._lights_on_route = line_crossings(route, self.stop_lines)
        self._signs_on_route = line_crossings(route, self.stop_signs)

    def _remember(self, state: DrivingState) -> None:
        self._last_location = np.array(state.ego.location, np.float64)
        self._last_speed = state.ego.speed
        self._last_steer = state.ego.steer

    def step(self, state: DrivingState) -> SignalStep:
        """Signals of the step that led to ``state``."""
        ego, tracker = state.ego, self.tracker
        completion = tracker.route_completion
        tracker.update(ego.location, ego.yaw)
        self._ttc.update(
            violates_time_to_collision(ego, (state.vehicles, state.walkers, state.statics))
        )
        speed, completed = ego.speed, tracker.route_completion
        signals = {
            "route_completion": completed,
            "delta_route_completion": completed - completion,
            "speed": speed,
            "speed_limit": speed_limit(state.speed_limit),
            "ttc_active": float(self._ttc.active),
            "comfort_active": float(self._comfort.update(ego)),
            "red_light": float(self._red_light.update(ego, state.light_state)),
            "stop_sign": float(self._stop_sign.update(ego)),
            "route_deviation": float(deviates(tracker.offset, self.config.max_deviation)),
            "blocked": float(self._blocked.update(speed, state.delta)),
            "heading_error": tracker.heading_error,
            "route_offset": tracker.offset,
            "steer": ego.steer,
            "throttle": ego.throttle,
            "brake": ego.brake,
            "steer_change": abs(ego.steer - self._last_steer),
            "distance": float(np.linalg.norm(ego.location - self._last_location)),
            **collision_signals(state.collisions, self._last_speed),
            **self._lane_signals(state),
            **self._gaps(state),
            "mean_traffic_speed": _mean_speed(state.vehicles),
        }
        self._remember(state)
        self._recorder.update(signals, state.delta)
        ended_by = next((name for name in TERMINATIONS if signals[name]), "")
        return SignalStep(signals, tracker.finished, ended_by)

    def _lane_signals(self, state: DrivingState) -> dict[str, float]:
        lane, position = self._lanes(state.ego)
        wrong = self._wrong_lane.update(position)
        outside = is_outside(position.distance, position.lane_width)
        return {
            "outside_lanes": float(outside or wrong),
            "wrong_lane": float(wrong),
            "off_road": float(self._off_road(state.ego, position)),
            "lateral_offset": lane.lateral_offset,
            "lane_width": lane.lane_width,
            "in_junction": float(lane.in_junction),
        }

    def _off_road(self, ego: Ego, position: LanePosition) -> bool:
        """Off lanes and shoulders; these cost a query, made only by a car off the lanes."""
        if not is_off_road(position, ego.extent):
            return False
        shoulder = self._lanes.shoulder(ego)
        return shoulder is None or is_off_road(shoulder, ego.extent)

    def _gaps(self, state: DrivingState) -> dict[str, float]:
        route, progress = self.tracker.route, self.tracker.progress
        point = self.tracker.next_point
        lights, which = self._lights_on_route
        state_ahead = state.light_state[which]
        red = (lights > progress) & ((state_ahead == RED) | (state_ahead == YELLOW))
        signs, sign = self._signs_on_route
        unserved = (signs > progress) & ~self._stop_sign.served[sign]
        return {
            "vehicle_gap": gap_on_route(route, progress, point, state.ego, state.vehicles),
            "walker_gap": gap_on_route(route, progress, point, state.ego, state.walkers),
            "red_light_gap": float(lights[red][0] - progress) if red.any() else NO_HAZARD,
            "stop_sign_gap": float(signs[unserved][0] - progress) if unserved.any() else NO_HAZARD,
        }

    @property
    def active_stop_signs(self) -> np.ndarray:
        """Stop lines of signs that lie ahead on the route and are not served, bool ``[S]``."""
        active = np.zeros(len(self.stop_signs), bool)
        if not len(active):
            return active
        signs, sign = self._signs_on_route
        active[sign[signs > self.tracker.progress]] = True
        return active & ~self._stop_sign.served

    def summary(self) -> RouteSummary:
        """The episode so far, for the route score."""
        return self._recorder.summary()

    def critic_state(self, time: float) -> np.ndarray:
        """CaRL's 10 measurements for the critic alone, float32 ``[10]``.

        Share of time left, share of time left before blocked, route points left / 100,
        time-to-collision counter / ticks, six comfort counters / ticks.

        Args:
            time: s since the episode began.
        """
        ticks = self.config.penalty_ticks
        counters = [counter.remaining / ticks for counter in self._comfort.counters]
        return np.array(
            [
                (self.config.time_limit - time) / self.config.time_limit,
                self._blocked.time_left,
                self.tracker.points_left / 100,
                self._ttc.remaining / ticks,
                *counters,
            ],
            np.float32,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything but map and route."""
        return {
            "tracker": self.tracker.state_dict(),
            "red_light": self._red_light.state_dict(),
            "stop_sign": self._stop_sign.state_dict(),
            "wrong_lane": self._wrong_lane.state_dict(),
            "blocked": self._blocked.state_dict(),
            "ttc": self._ttc.state_dict(),
            "comfort": self._comfort.state_dict(),
            "recorder": self._recorder.state_dict(),
            "last_location": self._last_location.copy(),
            "last_speed": self._last_speed,
            "last_steer": self._last_steer,
        }

    def load_state_dict(self, state: dict[str, Any], route: Route) -> None:
        """Restore what :meth:`state_dict` returned, on the same map and ``route``."""
        self._set_route(route)
        self.tracker.load_state_dict(state["tracker"])
        self._red_light.load_state_dict(state["red_light"])
        self._stop_sign.load_state_dict(state["stop_sign"])
        self._wrong_lane.load_state_dict(state["wrong_lane"])
        self._blocked.load_state_dict(state["blocked"])
        self._ttc.load_state_dict(state["ttc"])
        self._comfort.load_state_dict(state["comfort"])
        self._recorder.load_state_dict(state["recorder"])
        self._last_location = np.array(state["last_location"], np.float64)
        self._last_speed = float(state["last_speed"])
        self._last_steer = float(state["last_steer"])


def _mean_speed(vehicles: Bodies) -> float:
    """Mean speed of other vehicles, m/s; 0 without any."""
    if not len(vehicles):
        return 0.0
    return float(np.hypot(vehicles.velocity[:, 0], vehicles.velocity[:, 1]).mean())
