"""Camera images on the driven car, matched to ticks by frame number."""

from __future__ import annotations

from contextlib import suppress
from threading import Condition
from typing import Any

import carla
import numpy as np

from robo.rollout import CameraSchedule
from robo.sim.carla.client import Connection
from robo.sim.carla.options import CameraPose, CameraPoses
from robo.sim.carla.supervisor import ServerLostError

ROLES = ("front", "side", "bird", "left", "right", "rear")
"""Camera roles of a car."""
_KEPT = 4
"""Newest images kept per role: callbacks may run ahead of, or behind, the ticks."""
_WARM_UP_TICKS, _WARM_UP_WAIT = 20, 0.05
"""Ticks, and seconds after each, in which a new sensor's first image is expected."""


class _Inbox:
    """The newest images of one sensor by frame number."""

    def __init__(self) -> None:
        self._images: dict[int, Any] = {}
        self._arrived = Condition()

    def put(self, image: Any) -> None:
        """Called by the client's thread; pixels are copied only where they are asked for."""
        with self._arrived:
            self._images[image.frame] = image
            while len(self._images) > _KEPT:
                del self._images[min(self._images)]
            self._arrived.notify_all()

    def get(self, frame: int, timeout: float) -> Any | None:
        """The image of ``frame``; None if it does not come in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: frame in self._images, timeout)
            return self._images.get(frame)


class CameraRig:
    """One RGB sensor per role of a camera schedule, attached to one car."""

    def __init__(
        self, connection: Connection, car: Any, poses: CameraPoses, schedule: CameraSchedule
    ) -> None:
        """Spawn the sensors; they send from the next tick on."""
        self.schedule = schedule
        self._connection = connection
        self._inboxes: dict[str, _Inbox] = {}
        self._sensors: list[Any] = []  # a sensor that is collected stops silently
        with connection.calls():
            for role in schedule.views:
                self._add(role, car, getattr(poses, role))

    def _add(self, role: str, car: Any, pose: CameraPose) -> None:
        blueprint = self._connection.world.get_blueprint_library().find("sensor.camera.rgb")
        blueprint.set_attribute("image_size_x", str(self.schedule.width))
        blueprint.set_attribute("image_size_y", str(self.schedule.height))
        blueprint.set_attribute("fov", str(pose.fov))
        place = carla.Transform(
            carla.Location(pose.x, pose.y, pose.z), carla.Rotation(pitch=pose.pitch, yaw=pose.yaw)
        )
        sensor: Any = self._connection.world.spawn_actor(blueprint, place, attach_to=car)
        inbox = _Inbox()
        sensor.listen(inbox.put)
        self._inboxes[role] = inbox
        self._sensors.append(sensor)

    def warm_up(self) -> None:
        """Tick until every sensor sends: a subscription takes a moment.

        Raises:
            ServerLostError: a sensor stays silent.
        """
        for _ in range(_WARM_UP_TICKS):
            frame = self._connection.tick()
            if all(inbox.get(frame, _WARM_UP_WAIT) is not None for inbox in self._inboxes.values()):
                return
        self.frames(self._connection.tick())

    def frames(self, frame: int) -> dict[str, np.ndarray]:
        """Images of tick ``frame``: role to uint8 ``[H, W, 3]``, RGB.

        Raises:
            ServerLostError: an image does not come within the tick timeout.
        """
        return {role: self._image(role, frame) for role in self.schedule.views}

    def _image(self, role: str, frame: int) -> np.ndarray:
        image = self._inboxes[role].get(frame, self._connection.tick_timeout)
        if image is None:
            raise ServerLostError(
                f"camera {role} sent no image of tick {frame} within "
                f"{self._connection.tick_timeout:g} s; allow more with tick_timeout"
            )
        pixels = np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
        return np.ascontiguousarray(pixels[:, :, 2::-1])

    def close(self) -> None:
        """Stop and destroy the sensors; a dead server is no error."""
        close_sensors(self._sensors)
        self._sensors = []

    def abandon(self) -> None:
        """Stop listening, without a word to the server."""
        stop_sensors(self._sensors)
        self._sensors = []


def stop_sensors(sensors: list[Any]) -> None:
    """Stop listening; the server is not asked.

    A sensor that listens keeps its client alive, which then goes on connecting to where the server
    was, for ever.
    """
    for sensor in sensors:
        with suppress(RuntimeError):
            sensor.stop()


def close_sensors(sensors: list[Any]) -> None:
    """Stop first: a sensor that still listens when Python exits may abort the process."""
    stop_sensors(sensors)
    for sensor in sensors:
        with suppress(RuntimeError):
            sensor.destroy()
