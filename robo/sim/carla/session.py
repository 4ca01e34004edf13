"""One connected server, the car that is driven in it, and everything read from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import carla
import numpy as np

from robo.errors import RoboError
from robo.rollout import CameraSchedule
from robo.sim.carla.birdseye import BirdseyeConfig, BirdseyeRenderer
from robo.sim.carla.cameras import CameraRig, close_sensors, stop_sensors
from robo.sim.carla.client import Connection
from robo.sim.carla.driving_state import Bodies, DrivingState
from robo.sim.carla.observation import (
    BodyReader,
    CollisionInbox,
    LightReader,
    box_of,
    ego_of,
    measurements,
    points_ahead,
)
from robo.sim.carla.options import STEP_SECONDS, DrivingOptions
from robo.sim.carla.population import Population
from robo.sim.carla.route_score import RouteRecorder
from robo.sim.carla.routes import Route
from robo.sim.carla.signals import SignalBuilder, SignalConfig, SignalStep
from robo.sim.carla.supervisor import ServerLostError

DROP = 0.3
"""Metres above the road at which a car is put down: a real one would stick in the ground."""
SETTLE = 4
"""Ticks after which wheels and pedals of the last episode are at rest."""
_DIRT = "static.prop.dirtdebris"
_STILL = carla.Vector3D(0.0, 0.0, 0.0)


def others_by_kind(actors: Iterable[Any], own: int) -> dict[str, list[Any]]:
    """Vehicles, walkers and static props by the first part of their type, sorted by id.

    Args:
        actors: of the world, with ``id`` and ``type_id``.
        own: id of the driven car, which is left out; so is dirt on the road, as in CaRL.
    """
    kinds: dict[str, list[Any]] = {"vehicle": [], "walker": [], "static": []}
    for actor in sorted(actors, key=lambda actor: actor.id):
        kind = actor.type_id.split(".")[0]
        if kind in kinds and actor.id != own and not actor.type_id.startswith(_DIRT):
            kinds[kind].append(actor)
    return kinds


def _set_times(lights: Any, options: DrivingOptions) -> None:
    for light in lights:
        if options.green_time is not None:
            light.set_green_time(options.green_time)
        if options.red_time is not None:
            light.set_red_time(options.red_time)


class Session:
    """A car in a server; lost as a whole when the server is.

    Attributes:
        connection: to the server.
        signals: detectors of the running episode.
        route: that is driven.
        state: after the newest tick.
        cameras: the sensors of the camera schedule, or None.
    """

    def __init__(
        self,
        connection: Connection,
        options: DrivingOptions,
        traffic_port: int | None = None,
        foreign: bool = False,
    ) -> None:
        """Spawn the car and its collision sensor.

        Args:
            connection: to the server.
            options: of the environment.
            traffic_port: of the TrafficManager; None leaves the vehicles to the stand-in.
            foreign: the server is not our own. It is asked for the lights of all vehicles in each
                step (one call; the stand-in's traffic sets none, and brake lights follow from the
                pedals), and its pedestrians are sent on their way by the client.

        Raises:
            RoboError: the server has no such car, or no free place for it.
        """
        self.connection = connection
        self._ask_lights = foreign
        self._route_points = options.route_points
        limits = SignalConfig(delta=STEP_SECONDS, time_limit=options.time_limit)
        self.signals = SignalBuilder(connection.map, limits)
        config = BirdseyeConfig(
            options.birdseye_size,
            options.pixels_per_metre,
            options.metres_behind,
            options.route_outside_junctions,
        )
        self._birdseye = BirdseyeRenderer(connection.map, config)
        self._population = Population(
            connection,
            options.vehicles,
            options.pedestrians,
            options.traffic_radius,
            traffic_port,
            foreign,
        )
        self._car = self._spawn_car(options.ego)
        self._collisions = CollisionInbox(connection, self._car)
        connection.tick()
        self._box = box_of(connection, self._car)
        with connection.calls():
            lights = connection.world.get_actors().filter("traffic.traffic_light*")
            _set_times(lights, options)
            self._lights = LightReader(list(lights), self.signals.stop_lines)
        self._control = carla.VehicleControl()
        self._steps = 0
        self._recorder = RouteRecorder()
        self.cameras: CameraRig | None = None

    def _spawn_car(self, name: str) -> Any:
        """The driven car, at the first free spawn point."""
        world = self.connection.world
        with self.connection.calls():
            found = world.get_blueprint_library().filter(name)
        if len(found) != 1:
            raise RoboError(
                f"ego {name!r} names {len(found)} blueprints of the server, expected exactly one, "
                "such as vehicle.lincoln.mkz_2020"
            )
        blueprint = found[0]
        blueprint.set_attribute("role_name", "hero")
        with self.connection.calls():
            for place in self.connection.spawn_points:
                car = world.try_spawn_actor(blueprint, place)
                if car is not None:
                    return car
        raise RoboError(
            f"none of the {len(self.connection.spawn_points)} spawn points of "
            f"{self.connection.map.name} is free for {name}; use a fresh server"
        )

    def show(self, schedule: CameraSchedule | None, poses: Any) -> None:
        """Keep exactly the sensors that ``schedule`` needs; they send from the next tick on."""
        if (self.cameras.schedule if self.cameras else None) == schedule:
            return
        if self.cameras is not None:
            self.cameras.close()
            self.cameras = None
        with self.connection.calls():
            self.connection.render(schedule is not None)
        if schedule is not None:
            self.cameras = CameraRig(self.connection, self._car, poses, schedule)
            self.cameras.warm_up()

    def begin(self, route: Route, generator: np.random.Generator, wait: int) -> DrivingState:
        """Start an episode; nothing of the last one lives on.

        Args:
            route: to drive; the car is put at its first point.
            generator: decides the traffic.
            wait: ticks with the brake on; at least :data:`SETTLE` are made.
        """
        self.route = route
        self._recorder = RouteRecorder(route.length)
        self._population.clear()
        with self.connection.calls():
            self.connection.world.reset_all_traffic_lights()
            self._put_car(route)
        self._population.repopulate(generator, route.points)
        self._control.steer, self._control.throttle, self._control.brake = 0.0, 0.0, 1.0
        with self.connection.calls():
            self._car.apply_control(self._control)
            self.connection.tick()
            self._population.set_out()
            self._find_actors()
            for _ in range(max(wait, SETTLE) - 1):
                self.connection.tick()
        self._steps = 0
        self._collisions.begin(self.connection.frame)
        self.state = self._read()
        self.signals.reset(route, self.state)
        return self.state

    def _put_car(self, route: Route) -> None:
        x, y, z = (float(number) for number in route.points[0])
        yaw = float(np.degrees(route.yaw[0]))
        place = carla.Transform(carla.Location(x, y, z + DROP), carla.Rotation(yaw=yaw))
        # Without physics for a moment a body loses its momentum, whatever it was doing.
        self._car.set_simulate_physics(False)
        self._car.set_transform(place)
        self._car.set_simulate_physics(True)
        self._car.set_target_velocity(_STILL)
        self._car.set_target_angular_velocity(_STILL)

    def _find_actors(self) -> None:
        """Who else is there in this episode."""
        found = others_by_kind(self.connection.world.get_actors(), self._car.id)
        readers = {
            kind: BodyReader(self.connection, actors, kind == "vehicle")
            for kind, actors in found.items()
        }
        self._vehicles, self._walkers = readers["vehicle"], readers["walker"]
        snapshot = self.connection.world.get_snapshot()
        self._statics: Bodies = readers["static"].read(snapshot)

    def step(self, steer: float, throttle: float, brake: float) -> DrivingState:
        """Drive for 0.1 s.

        Args:
            steer: [-1, 1], right positive.
            throttle: [0, 1].
            brake: [0, 1].

        Raises:
            ServerLostError: the server does not answer, or the car is gone.
        """
        control = self._control
        control.steer, control.throttle, control.brake = steer, throttle, brake
        with self.connection.calls():
            self._car.apply_control(control)
            self.connection.tick()
            self._steps += 1
            self.state = self._read()
        return self.state

    def judge(self) -> SignalStep:
        """Signals of the step just made; once per step."""
        step = self.signals.step(self.state)
        self._recorder.update(step.signals, STEP_SECONDS)
        return step

    def summary(self) -> dict[str, float]:
        """What the route score is made of, so far."""
        return self._recorder.summary().as_dict()

    def _read(self) -> DrivingState:
        snapshot = self.connection.world.get_snapshot()
        ego = ego_of(snapshot, self._car, self._box)
        if ego is None:
            raise ServerLostError("the driven car is gone from the server; it may have reloaded")
        control = self._control
        ego.steer, ego.throttle, ego.brake = control.steer, control.throttle, control.brake
        lights, remaining = self._lights.read()
        shown = self.connection.world.get_vehicles_light_states() if self._ask_lights else None
        return DrivingState(
            time=self._steps * STEP_SECONDS,
            delta=STEP_SECONDS,
            ego=ego,
            vehicles=self._vehicles.read(snapshot, shown),
            walkers=self._walkers.read(snapshot),
            statics=self._statics,
            light_state=lights,
            light_remaining=remaining,
            speed_limit=self._car.get_speed_limit(),
            collisions=self._collisions.take(),
        )

    def observation(self) -> dict[str, np.ndarray]:
        """Fresh arrays of the newest state; see :func:`observation_space`."""
        state = measurements(self.state)
        if self._route_points:
            first = self.signals.tracker.next_point
            ahead = points_ahead(self.state.ego, self.route, first, self._route_points)
            state = np.concatenate([state, ahead])
        return {
            "state": state,
            "birdseye": self._birdseye.render(
                self.state,
                self.route,
                self.signals.tracker.next_point,
                self.signals.active_stop_signs,
            ),
            "critic_state": self.signals.critic_state(self.state.time),
        }

    def _leave(self) -> None:
        """Stop the sensors; one that still listens when Python exits may abort the process."""
        if self.cameras is not None:
            self.cameras.close()
            self.cameras = None
        close_sensors([self._collisions.sensor])
        self._population.close()

    def close(self, answering: bool = True) -> None:
        """Remove what this session spawned; a server that does not answer is not asked."""
        if answering:
            # The TrafficManager ends the process where it must be left without an answer.
            ask = self.connection.client.get_server_version
            steps = [
                ask,
                self._leave,
                self._population.clear,
                self._car.destroy,
                self.connection.close,
            ]
            try:
                for step in steps:
                    step()
                return
            except (RuntimeError, RoboError):
                pass  # lost meanwhile
        self._abandon()

    def _abandon(self) -> None:
        """Leave without a word to the server."""
        if self.cameras is not None:
            self.cameras.abandon()
            self.cameras = None
        stop_sensors([self._collisions.sensor])
        self._population.abandon()
