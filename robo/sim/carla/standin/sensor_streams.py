"""Sensor data to streams: which sensors are due, what they saw, how it is packed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from robo.sim.carla.standin import layouts, layouts_streams
from robo.sim.carla.standin.layouts_streams import SENSOR_INDEX

if TYPE_CHECKING:
    from robo.sim.carla.standin.sensors.scene import Scene
    from robo.sim.carla.standin.service import Service
    from robo.sim.carla.standin.world import Actor

STATIC = layouts.actor(
    0,
    0,
    layouts.actor_description(0, "static.static", []),
    layouts.bounding_box((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    b"",
)
"""What is hit when it is no actor."""

Parts = tuple[bytes | memoryview, ...]
"""Payload of one message after its header, in parts that need no joining."""

ROUNDING = 1e-6
"""Seconds by which sums of time steps may miss a sensor's period."""


class SensorStreams:
    """The sensors of one episode. Nothing is computed for a sensor that no one listens to."""

    def __init__(self, service: Service) -> None:
        """No sensor is due yet; the scene is built when the first picture is asked for."""
        self._service = service
        self._due: dict[int, float] = {}
        self._made: dict[int, Callable[[], list[Parts]]] = {}
        self._scene: Scene | None = None

    def forget(self, id: int) -> None:
        """An actor is no more."""
        self._due.pop(id, None)
        self._made.pop(id, None)

    def publish(self) -> None:
        """Send what every subscribed sensor saw in the world's last step."""
        service = self._service
        if service.streams is None or not service.sensor_streams:
            return
        for stream in service.streams.wanted_streams():
            id = service.sensor_streams.get(stream)
            if id is None or not self._is_due(service.world.actors[id]):
                continue
            try:
                self._send(stream, service.world.actors[id])
            except Exception:
                # The sensor falls silent; the server and the other sensors go on.
                traceback.print_exc(file=sys.stderr)
                service.streams.end(stream)

    def _send(self, stream: int, actor: Actor) -> None:
        """Send one sensor's messages."""
        service, header = self._service, None
        world = service.world
        assert service.streams is not None
        for parts in self._maker(actor)():
            header = header or layouts_streams.sensor_header(
                SENSOR_INDEX[actor.type_id], world.frame, world.elapsed, world.pose(actor.id)
            )
            service.streams.publish(stream, header, *parts)

    def _is_due(self, actor: Actor) -> bool:
        """Whether ``sensor_tick`` seconds have passed since the sensor last fired."""
        period = float(actor.attributes.get("sensor_tick", 0.0))
        if period <= 0:
            return True
        now = self._service.world.elapsed
        due = self._due.get(actor.id, now)
        if now < due - ROUNDING:
            return False
        # Kept on the sensor's own grid, unless ticks are longer than its period.
        self._due[actor.id] = max(due + period, now)
        return True

    def _maker(self, actor: Actor) -> Callable[[], list[Parts]]:
        """What makes a sensor's messages: none, one, or (collisions) several for one step."""
        if actor.id not in self._made:
            self._made[actor.id] = _MAKERS[actor.type_id](self, actor)
        return self._made[actor.id]

    def _get_scene(self) -> Scene:
        """The town and its actors as shapes, built once per episode."""
        if self._scene is None:
            # OpenCV loads only when someone looks.
            from robo.sim.carla.standin.sensors.scene import Scene

            self._scene = Scene(self._service.world)
        return self._scene

    # --- Kinds of sensors ----------------------------------------------------------------------

    def _collision(self, actor: Actor) -> Callable[[], list[Parts]]:
        """A message for each collision of the parent."""
        service = self._service

        def make() -> list[Parts]:
            return [
                (
                    layouts_streams.collision(
                        service.record(hit.actor),
                        service.record(hit.other) if hit.other in service.world.actors else STATIC,
                        hit.impulse,
                    ),
                )
                for hit in service.world.collisions()
                if hit.actor == actor.parent
            ]

        return make

    def _silent(self, actor: Actor) -> Callable[[], list[Parts]]:
        """The client computes lane invasions by itself."""
        return list

    def _camera(self, actor: Actor) -> Callable[[], list[Parts]]:
        """Pictures."""
        scene, world = self._get_scene(), self._service.world
        render = {
            "sensor.camera.rgb": scene.render_rgb,
            "sensor.camera.semantic_segmentation": scene.render_semantic,
            "sensor.camera.depth": scene.render_depth,
        }[actor.type_id]
        size = int(actor.attributes["image_size_x"]), int(actor.attributes["image_size_y"])
        fov = float(actor.attributes["fov"])
        header = layouts_streams.IMAGE_HEADER.pack(*size, fov)

        def make() -> list[Parts]:
            picture = render(world, world.pose(actor.id), *size, fov)
            return [(header, picture.data.cast("B"))]

        return make

    def _lidar(self, actor: Actor) -> Callable[[], list[Parts]]:
        """Points."""
        scene, world = self._get_scene(), self._service.world
        scan = scene.semantic_lidar if "semantic" in actor.type_id else scene.lidar

        def make() -> list[Parts]:
            step = world.delta
            angle, counts, points = scan(world, world.pose(actor.id), actor.attributes, step)
            return [(layouts_streams.lidar(angle, counts, points),)]

        return make

    def _gnss(self, actor: Actor) -> Callable[[], list[Parts]]:
        """Latitude, longitude, altitude."""
        from robo.sim.carla.standin.sensors.motion import gnss

        world = self._service.world
        return lambda: [(layouts_streams.gnss(*gnss(world, actor)),)]

    def _imu(self, actor: Actor) -> Callable[[], list[Parts]]:
        """Acceleration, angular velocity, compass."""
        from robo.sim.carla.standin.sensors.motion import imu

        world = self._service.world
        return lambda: [(layouts_streams.imu(*imu(world, actor)),)]


_MAKERS: dict[str, Callable[[SensorStreams, Any], Callable[[], list[Parts]]]] = {
    "sensor.other.collision": SensorStreams._collision,
    "sensor.other.lane_invasion": SensorStreams._silent,
    "sensor.other.gnss": SensorStreams._gnss,
    "sensor.other.imu": SensorStreams._imu,
    "sensor.camera.rgb": SensorStreams._camera,
    "sensor.camera.semantic_segmentation": SensorStreams._camera,
    "sensor.camera.depth": SensorStreams._camera,
    "sensor.lidar.ray_cast": SensorStreams._lidar,
    "sensor.lidar.ray_cast_semantic": SensorStreams._lidar,
}
