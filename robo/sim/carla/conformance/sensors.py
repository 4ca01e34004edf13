"""Checks of sensors: data for the tick that was made, with the shape and meaning that CARLA has."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import numpy as np

from robo.sim.carla.conformance.session import Check, Outcome, Session, check

CHECKS: list[Check] = []
_check = partial(check, CHECKS)
WIDTH, HEIGHT = 96, 64


def _camera(session: Session, kind: str) -> tuple[np.ndarray, Any, int]:
    """A picture [H, W, 4] from the bonnet of a vehicle, its data, and the frame asked for."""
    import carla

    vehicle = session.vehicle()
    place = carla.Transform(carla.Location(x=1.5, z=2.4), carla.Rotation(pitch=-10.0))
    size = {"image_size_x": str(WIDTH), "image_size_y": str(HEIGHT), "fov": "90"}
    camera = session.spawn(f"sensor.camera.{kind}", place, attach_to=vehicle, **size)
    image, frame = session.measure(camera)
    pixels = np.frombuffer(bytes(image.raw_data), np.uint8).reshape(image.height, image.width, 4)
    return pixels, image, frame


def _shape_and_frame(image: Any, frame: int) -> bool:
    """Whether the picture has the size, view and frame that were asked for."""
    return (image.width, image.height, round(image.fov)) == (WIDTH, HEIGHT, 90) and (
        image.frame == frame
    )


@_check("sensor.camera.rgb", "a BGRA picture of the tick's frame, not of one colour")
def _rgb(session: Session) -> Outcome:
    pixels, image, frame = _camera(session, "rgb")
    spread = float(pixels[..., :3].std())
    found = image.width, image.height, image.fov, image.frame - frame, round(spread, 1)
    return _shape_and_frame(image, frame) and spread > 1.0, found


@_check("sensor.camera.semantic_segmentation", "tags in the red channel, roads (1) among them")
def _semantic(session: Session) -> Outcome:
    pixels, image, frame = _camera(session, "semantic_segmentation")
    tags = sorted(set(pixels[..., 2].ravel().tolist()))
    return _shape_and_frame(image, frame) and 1 in tags and max(tags) < 30, tags


@_check("sensor.camera.depth", "metres = 1000 (R + 256 G + 65536 B) / (2^24 - 1); ground nearer")
def _depth(session: Session) -> Outcome:
    pixels, image, frame = _camera(session, "depth")
    blue, green, red = (pixels[..., channel].astype(np.float64) for channel in range(3))
    metres = 1000.0 * (red + 256.0 * green + 65536.0 * blue) / (2**24 - 1)
    near, far = float(np.median(metres[-1])), float(np.median(metres[0]))
    return _shape_and_frame(image, frame) and 0.5 < near < 20.0 and far > near, (near, far)


@_check("sensor.lidar.ray_cast", "points (x, y, z, intensity) within range, counts per channel")
def _lidar(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    place = carla.Transform(carla.Location(z=2.4))
    options = {"channels": "16", "range": "40", "points_per_second": "40000"}
    options |= {"rotation_frequency": "20", "lower_fov": "-30", "upper_fov": "10"}
    sensor = session.spawn("sensor.lidar.ray_cast", place, attach_to=vehicle, **options)
    data, _ = session.measure(sensor)
    points = np.frombuffer(bytes(data.raw_data), np.float32).reshape(-1, 4)
    total = sum(data.get_point_count(channel) for channel in range(data.channels))
    reach = float(np.linalg.norm(points[:, :3], axis=1).max()) if len(points) else 0.0
    sound = data.channels == 16 and total == len(points) > 0 and 1.0 < reach <= 41.0
    return sound, (data.channels, len(points), total, reach)


@_check("sensor.lidar.ray_cast_semantic", "points with the cosine, the actor and its tag")
def _semantic_lidar(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    place = carla.Transform(carla.Location(z=2.4))
    options = {"channels": "16", "range": "40", "points_per_second": "40000"}
    options |= {"rotation_frequency": "20", "lower_fov": "-30"}
    sensor = session.spawn("sensor.lidar.ray_cast_semantic", place, attach_to=vehicle, **options)
    data, _ = session.measure(sensor)
    tags = sorted({point.object_tag for point in data})
    return len(data) > 0 and max(tags) < 30, (len(data), tags)


@_check("sensor.other.gnss", "the geolocation of the vehicle")
def _gnss(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    sensor = session.spawn("sensor.other.gnss", carla.Transform(), attach_to=vehicle)
    data, _ = session.measure(sensor)
    wanted = session.world.get_map().transform_to_geolocation(vehicle.get_location())
    gaps = abs(data.latitude - wanted.latitude), abs(data.longitude - wanted.longitude)
    return max(gaps) < 1e-5, (data.latitude, data.longitude, data.altitude)


@_check("sensor.other.imu", "at rest: gravity upwards, no spin, a compass in [0, 2 pi]")
def _imu(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    session.tick(40)
    sensor = session.spawn("sensor.other.imu", carla.Transform(), attach_to=vehicle)
    data, _ = session.measure(sensor)
    found = data.accelerometer.z, data.gyroscope.z, data.compass
    sound = abs(found[0] - 9.81) < 0.5 and abs(found[1]) < 0.1 and 0 <= found[2] <= 2 * math.pi
    return sound, found


@_check(
    "sensor.other.collision", "an event with both actors and an impulse; neither passes through"
)
def _collision(session: Session) -> Outcome:
    import carla

    place = session.straight_place()
    waypoint = session.world.get_map().get_waypoint(place.location)
    ahead = waypoint.next(14.0)[0].transform
    ahead.location.z += 0.3
    other = session.vehicle(ahead)
    vehicle = session.vehicle(place)
    sensor = session.spawn("sensor.other.collision", carla.Transform(), attach_to=vehicle)
    events: list[Any] = []
    sensor.listen(events.append)
    vehicle.set_target_velocity(8.0 * place.get_forward_vector())
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    session.tick(80)
    sensor.stop()
    if not events:
        return False, "no event"
    first = events[0]
    impulse = first.normal_impulse
    size = math.hypot(impulse.x, impulse.y)
    gap = vehicle.get_location().distance(other.get_location())
    pair = (first.actor.id, first.other_actor.id) == (vehicle.id, other.id)
    return pair and size > 1.0 and gap > 3.0, (first.other_actor.type_id, size, gap)


@_check("sensor.other.lane_invasion", "an event with the markings crossed (the client computes it)")
def _lane_invasion(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle(session.straight_place())
    sensor = session.spawn("sensor.other.lane_invasion", carla.Transform(), attach_to=vehicle)
    session.tick()
    events: list[Any] = []
    sensor.listen(events.append)
    for direction in (-1.0, 1.0):
        vehicle.apply_control(carla.VehicleControl(throttle=0.7, steer=0.5 * direction))
        for _ in range(60):
            session.tick()
            if events:
                break
        if events:
            break
    sensor.stop()
    markings = [str(marking.type) for event in events for marking in event.crossed_lane_markings]
    return len(markings) > 0, markings


@_check("Sensor.stop", "is_listening is True, then False; no data after it")
def _stop(session: Session) -> Outcome:
    import carla

    sensor = session.spawn("sensor.other.gnss", carla.Transform(), attach_to=session.vehicle())
    data: list[Any] = []
    sensor.listen(data.append)
    for _ in range(100):
        session.tick()
        time.sleep(0.01)
        if data:
            break
    listening = sensor.is_listening()
    sensor.stop()
    session.tick(2)
    time.sleep(0.2)
    count = len(data)
    session.tick(3)
    time.sleep(0.2)
    return listening and count > 0 and not sensor.is_listening() and len(data) == count, (
        count,
        len(data),
    )


@_check("sensor_tick", "a sensor with sensor_tick 0.2 s fires at every fourth tick of 0.05 s")
def _sensor_tick(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    sensor = session.spawn(
        "sensor.other.gnss", carla.Transform(), attach_to=vehicle, sensor_tick="0.2"
    )
    frames: list[int] = []
    sensor.listen(lambda data: frames.append(data.frame))
    for _ in range(100):
        session.tick()
        # A tick is faster than the thread that takes up data.
        time.sleep(0.01)
        if len(frames) > 4:
            break
    sensor.stop()
    gaps = np.diff(frames)
    return len(gaps) > 2 and bool((gaps == 4).all()), frames


@_check("Actor.destroy of a vehicle with sensors", "the sensors can be stopped and destroyed first")
def _destroy_with_sensor(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    sensor = session.spawn("sensor.other.imu", carla.Transform(), attach_to=vehicle)
    session.measure(sensor)
    found = sensor.destroy(), vehicle.destroy()
    session.tick()
    return found == (True, True), found
