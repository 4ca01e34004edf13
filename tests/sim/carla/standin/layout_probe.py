"""Run by test_layouts.py: a server that serves made-up values, or the real client that reads them.

    python layout_probe.py serve      prints its port, serves until its standard input ends
    python layout_probe.py read PORT  prints one JSON object: what the client made of each layout

Every field of a layout holds another number, so that a swapped pair cannot go unseen.
"""

from __future__ import annotations

import json
import os
import queue
import selectors
import sys
from typing import Any

import numpy as np

from robo.sim.carla.standin import blueprints, layouts, layouts_streams
from robo.sim.carla.standin.rpc import RpcServer, pack_result
from robo.sim.carla.standin.streams import StreamServer

POSE = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
VEHICLE, WALKER, LIGHT, SPECTATOR = 11, 12, 13, 14
SENSORS = {
    "sensor.camera.rgb": 21,
    "sensor.camera.semantic_segmentation": 22,
    "sensor.camera.depth": 23,
    "sensor.lidar.ray_cast": 24,
    "sensor.lidar.ray_cast_semantic": 25,
    "sensor.other.gnss": 26,
    "sensor.other.imu": 27,
    "sensor.other.collision": 28,
}
TYPES = {
    VEHICLE: "vehicle.tesla.model3",
    WALKER: "walker.pedestrian.0001",
    LIGHT: "traffic.traffic_light",
    SPECTATOR: "spectator",
    **{id: type_id for type_id, id in SENSORS.items()},
}


def actor_states() -> np.ndarray:
    states = np.zeros(len(TYPES), layouts_streams.ACTOR_STATE)
    for row, id in zip(states, TYPES, strict=True):
        row["id"], row["state"] = id, 1
        row["location"], row["rotation"] = (1.5, 2.5, 3.5), (4.5, 5.5, 6.5)
        row["velocity"], row["angular_velocity"] = (7.5, 8.5, 9.5), (10.5, 11.5, 12.5)
        row["acceleration"] = (13.5, 14.5, 15.5)
    states[0]["vehicle"] = (0.25, -0.5, 0.75, True, False, True, 3, 37.5, 1, True, LIGHT, 2)
    states[1]["walker"] = ((0.5, 0.25, 0.125), 1.75, True)
    states[2]["light"] = (b"signal 7", 1.25, 2.25, 3.25, 4.25, 5, True, 2)
    return states


def physics() -> layouts.VehiclePhysics:
    wheel = layouts.WheelPhysics(*[n + 0.5 for n in range(9)], [21.0, 22.0, 23.0])
    return layouts.VehiclePhysics(
        [[1.0, 2.0]], 3.0, 4.0, 5.0, 6.0, 7.0, False, 8.0, 9.0, 10.0, [[11.0, 12.0, 13.0]],
        14.0, 15.0, [16.0, 17.0, 18.0], [[19.0, 20.0]], [wheel] * 4, True,
    )  # fmt: skip


class Probe:
    """Answers with made-up values; a tick publishes one message on every stream."""

    def __init__(self) -> None:
        self.frame = 10
        self.kept: dict[str, Any] = {}
        self.selector = selectors.DefaultSelector()
        self.rpc = RpcServer("127.0.0.1", 0, self.selector, self.dispatch, lambda: None)
        self.streams = StreamServer("127.0.0.1", 0, self.selector, self.subscribe)

    def token(self, stream: int) -> bytes:
        return layouts.stream_token(stream, self.streams.port)

    def actor(self, id: int) -> list[Any]:
        attributes = [("role_name", 4, "hero"), ("number_of_wheels", 2, "4")]
        return layouts.actor(
            id,
            VEHICLE if id >= 21 else 0,
            layouts.actor_description(5, TYPES[id], attributes),
            layouts.bounding_box((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0), id),
            b"\x0e\x0f",
            self.token(id) if id >= 21 else b"",
        )

    def state(self) -> bytes:
        return layouts_streams.world_state(
            self.frame, 1.25, 77, 99.5, 0.125, 0, actor_states().tobytes()
        )

    def subscribe(self, stream: int, connection: Any) -> bool:
        if stream == 1:
            state = self.state()
            connection.send(layouts_streams.MESSAGE_SIZE.pack(len(state)), state)
        return True

    def publish(self) -> None:
        self.frame += 1
        self.streams.publish(1, self.state())
        for type_id, stream in SENSORS.items():
            head = layouts_streams.sensor_header(
                layouts_streams.SENSOR_INDEX[type_id], self.frame, 2.5, POSE
            )
            self.streams.publish(stream, head, self.payload(type_id))

    def payload(self, type_id: str) -> bytes:
        if "camera" in type_id:
            return layouts_streams.image(3, 2, 75.0, bytes(range(24)))
        if type_id == "sensor.lidar.ray_cast":
            points = np.arange(12, dtype=np.float32).reshape(3, 4)
            return layouts_streams.lidar(0.75, np.array([2, 1]), points)
        if type_id == "sensor.lidar.ray_cast_semantic":
            points = np.array([(1, 2, 3, 0.5, 11, 14)], layouts_streams.SEMANTIC_POINT)
            return layouts_streams.lidar(0.25, np.array([1, 0]), points)
        if type_id == "sensor.other.gnss":
            return layouts_streams.gnss(1.5, 2.5, 3.5)
        if type_id == "sensor.other.imu":
            return layouts_streams.imu((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 0.5)
        return layouts_streams.collision(self.actor(VEHICLE), self.actor(WALKER), (1.0, 2.0, 3.0))

    def dispatch(self, name: str, arguments: list[Any]) -> bytes:
        if name == "tick_cue":
            self.publish()
            return pack_result(layouts.value(self.frame))
        if name.startswith(("apply_", "set_")) and name != "apply_batch":
            self.kept[name] = arguments[-1]
            content = self.frame if name == "set_episode_settings" else None
            return pack_result(layouts.void() if content is None else layouts.value(content))
        if name == "draw_debug_shape":
            return pack_result(layouts.void())
        if name == "apply_batch":
            self.kept[name] = arguments
            return pack_result([layouts.value(VEHICLE), layouts.error("no")])
        if name == "cast_ray":
            raise_error = layouts.error("text of the error")
            return pack_result(raise_error)
        return pack_result(layouts.value(self.content(name, arguments)))

    def content(self, name: str, arguments: list[Any]) -> Any:
        weather = [float(n) for n in range(1, 15)]
        settings = layouts.EpisodeSettings(
            True, True, 0.125, False, 0.25, 3, 4.5, True, 5.5, 6.5, False
        )
        box = layouts.bounding_box((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0), 10)
        kept_settings = self.kept.get("set_episode_settings")
        contents: dict[str, Any] = {
            "version": layouts.VERSION,
            "get_episode_info": layouts.episode_info(77, self.token(1)),
            "get_episode_settings": kept_settings or settings.message(),
            "get_required_files": [],
            "query_lights_state": [
                layouts.light_state(3, (1.0, 2.0, 3.0), 4.5, 2, (5, 6, 7), True)
            ],
            "get_map_info": layouts.map_info("Made/Up", [POSE]),
            "get_map_data": MAP,
            "get_available_maps": ["Made/Up"],
            "get_weather_parameters": self.kept.get("set_weather_parameters", weather),
            "get_actor_definitions": blueprints.definitions(),
            "get_spectator": self.actor(SPECTATOR),
            "get_actor_bounding_box": box,
            "get_physics_control": self.kept.get("apply_physics_control", physics()),
            "get_ackermann_controller_settings": self.kept.get(
                "apply_ackermann_controller_settings", [float(n) for n in range(1, 7)]
            ),
            "get_vehicle_light_state": [5],
            "get_vehicle_light_states": [[VEHICLE, 5]],
            "get_group_traffic_lights": [LIGHT],
            "get_light_boxes": [box],
            "get_wheel_steer_angle": 12.5,
            "get_environment_objects": [layouts.environment_object(POSE, box, 1 << 40, "house", 3)],
            "get_all_level_BBs": [box],
            "project_point": [True, layouts.labelled_point((1.0, 2.0, 3.0), 24)],
            "destroy_actor": True,
            "kept": self.kept,
        }
        if name == "get_actors_by_id":
            return [self.actor(id) for id in arguments[0]]
        if name == "get_sensor_token":
            return layouts.token(self.token(arguments[0]))
        return contents[name]

    def run(self) -> None:
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)
        print(self.rpc.port, flush=True)
        while True:
            for key, mask in self.selector.select():
                if key.data is None:
                    return
                key.data(mask)


MAP = """<?xml version="1.0"?><OpenDRIVE><header revMajor="1" revMinor="4"/><road name="a"
length="50" id="1" junction="-1"><planView><geometry s="0" x="0" y="0" hdg="0" length="50"><line/>
</geometry></planView><lanes><laneSection s="0"><center><lane id="0" type="none" level="false"/>
</center><right><lane id="-1" type="driving" level="false"><width sOffset="0" a="3.5" b="0" c="0"
d="0"/></lane></right></laneSection></lanes></road></OpenDRIVE>"""


def vector(v: Any) -> list[float]:
    return [v.x, v.y, v.z]


def turn(r: Any) -> list[float]:
    return [r.pitch, r.yaw, r.roll]


def pose(t: Any) -> list[float]:
    return vector(t.location) + turn(t.rotation)


def box(b: Any) -> list[float]:
    return vector(b.location) + vector(b.extent) + turn(b.rotation)


def read(port: int) -> dict[str, Any]:
    import carla

    client = carla.Client("127.0.0.1", port, worker_threads=2)
    client.set_timeout(5.0)
    world = client.get_world()
    facts: dict[str, Any] = {"episode": world.id, "version": client.get_server_version()}
    read_world(carla, client, world, facts)
    actors = {actor.id: actor for actor in world.get_actors()}
    read_actors(carla, actors, facts)
    write(carla, client, world, actors, facts)
    for type_id, id in SENSORS.items():
        facts[type_id] = read_sensor(actors[id], world)
    return facts


def read_world(carla: Any, client: Any, world: Any, facts: dict[str, Any]) -> None:
    s = world.get_settings()
    facts["settings"] = [
        s.synchronous_mode, s.no_rendering_mode, s.fixed_delta_seconds, s.substepping,
        s.max_substep_delta_time, s.max_substeps, s.max_culling_distance,
        s.deterministic_ragdolls, s.tile_stream_distance, s.actor_active_distance,
        s.spectator_as_ego,
    ]  # fmt: skip
    town = world.get_map()
    facts["map"] = [town.name, [pose(point) for point in town.get_spawn_points()]]
    facts["opendrive"] = town.to_opendrive() == MAP
    facts["maps"] = client.get_available_maps()
    facts["weather"] = weather(world.get_weather())
    facts["library"] = len(world.get_blueprint_library())
    blueprint = world.get_blueprint_library().find("vehicle.tesla.model3")
    color = blueprint.get_attribute("color")
    facts["blueprint"] = [
        blueprint.has_tag("tesla"), color.as_color().b, color.recommended_values[0],
        color.is_modifiable, blueprint.get_attribute("number_of_wheels").as_int(),
        blueprint.get_attribute("has_lights").as_bool(),
    ]  # fmt: skip
    lamp = world.get_lightmanager().get_all_lights()[0]
    facts["lamp"] = [
        lamp.id, vector(lamp.location), lamp.intensity, int(lamp.light_group), lamp.color.g,
        lamp.is_on,
    ]  # fmt: skip
    (thing,) = world.get_environment_objects()
    facts["thing"] = [pose(thing.transform), box(thing.bounding_box), thing.id, thing.name]
    facts["thing"].append(int(thing.type))
    facts["boxes"] = [box(b) for b in world.get_level_bbs()]
    point = world.project_point(carla.Location(), carla.Vector3D(z=-1.0), 10.0)
    facts["point"] = [vector(point.location), int(point.label)]
    try:
        world.cast_ray(carla.Location(), carla.Location())
    except RuntimeError as error:
        facts["error"] = str(error)


def weather(w: Any) -> list[float]:
    return [getattr(w, name) for name in layouts.WEATHER_FIELDS]


def read_actors(carla: Any, actors: dict[int, Any], facts: dict[str, Any]) -> None:
    vehicle, walker, light = actors[VEHICLE], actors[WALKER], actors[LIGHT]
    facts["pose"] = pose(vehicle.get_transform())
    facts["motion"] = [
        vector(vehicle.get_velocity()), vector(vehicle.get_angular_velocity()),
        vector(vehicle.get_acceleration()),
    ]  # fmt: skip
    c = vehicle.get_control()
    facts["control"] = [c.throttle, c.steer, c.brake, c.hand_brake, c.reverse]
    facts["control"] += [c.manual_gear_shift, c.gear]
    facts["vehicle"] = [
        vehicle.get_speed_limit(), str(vehicle.get_traffic_light_state()),
        vehicle.is_at_traffic_light(), vehicle.get_traffic_light().id,
        int(vehicle.get_failure_state()),
    ]  # fmt: skip
    facts["actor"] = [
        vehicle.type_id, vehicle.attributes, list(vehicle.semantic_tags), box(vehicle.bounding_box)
    ]  # fmt: skip
    facts["parent"] = actors[SENSORS["sensor.other.gnss"]].parent.id
    facts["lights"] = int(vehicle.get_light_state())
    facts["wheel"] = vehicle.get_wheel_steer_angle(carla.VehicleWheelLocation.FL_Wheel)
    c = walker.get_control()
    facts["walker"] = [vector(c.direction), c.speed, c.jump]
    facts["light"] = [
        light.get_opendrive_id(), light.get_green_time(), light.get_yellow_time(),
        light.get_red_time(), light.get_elapsed_time(), light.get_pole_index(),
        light.is_frozen(), str(light.get_state()),
    ]  # fmt: skip
    facts["light_boxes"] = [box(b) for b in light.get_light_boxes()]
    facts["group"] = [member.id for member in light.get_group_traffic_lights()]
    facts["physics"] = physics_facts(vehicle.get_physics_control())
    gains = vehicle.get_ackermann_controller_settings()
    facts["gains"] = [
        gains.speed_kp, gains.speed_ki, gains.speed_kd, gains.accel_kp, gains.accel_ki,
        gains.accel_kd,
    ]  # fmt: skip


def physics_facts(p: Any) -> list[Any]:
    wheel, gear = p.wheels[0], p.forward_gears[0]
    return [
        [[v.x, v.y] for v in p.torque_curve], p.max_rpm, p.moi, p.damping_rate_full_throttle,
        p.damping_rate_zero_throttle_clutch_engaged,
        p.damping_rate_zero_throttle_clutch_disengaged, p.use_gear_autobox, p.gear_switch_time,
        p.clutch_strength, p.final_ratio, [[gear.ratio, gear.down_ratio, gear.up_ratio]], p.mass,
        p.drag_coefficient, vector(p.center_of_mass), [[v.x, v.y] for v in p.steering_curve],
        [wheel.tire_friction, wheel.damping_rate, wheel.max_steer_angle, wheel.radius,
         wheel.max_brake_torque, wheel.max_handbrake_torque, wheel.lat_stiff_max_load,
         wheel.lat_stiff_value, wheel.long_stiff_value, vector(wheel.position)],
        p.use_sweep_wheel_collision,
    ]  # fmt: skip


def write(carla: Any, client: Any, world: Any, actors: dict[int, Any], facts: dict) -> None:
    """Send every struct that clients send; what arrives is in ``kept``."""
    vehicle, walker = actors[VEHICLE], actors[WALKER]
    vehicle.apply_control(carla.VehicleControl(0.25, -0.5, 0.75, True, False, True, 3))
    vehicle.apply_ackermann_control(carla.VehicleAckermannControl(1.0, 2.0, 3.0, 4.0, 5.0))
    vehicle.apply_ackermann_controller_settings(vehicle.get_ackermann_controller_settings())
    vehicle.apply_physics_control(vehicle.get_physics_control())
    vehicle.set_light_state(carla.VehicleLightState(5))
    vehicle.set_transform(
        carla.Transform(carla.Location(1.0, 2.0, 3.0), carla.Rotation(4.0, 5.0, 6.0))
    )
    vehicle.set_target_velocity(carla.Vector3D(1.0, 2.0, 3.0))
    walker.apply_control(carla.WalkerControl(carla.Vector3D(0.5, 0.25, 0.125), 1.75, True))
    world.set_weather(carla.WeatherParameters(*[float(n) for n in range(14, 0, -1)]))
    spawn = carla.command.SpawnActor(
        world.get_blueprint_library().find("walker.pedestrian.0001"), carla.Transform(), vehicle
    ).then(carla.command.SetSimulatePhysics(carla.command.FutureActor, True))
    batch = [
        spawn,
        carla.command.ApplyVehicleControl(VEHICLE, carla.VehicleControl(0.5)),
        carla.command.ApplyWalkerState(WALKER, carla.Transform(), 1.5),
        carla.command.SetVehicleLightState(VEHICLE, carla.VehicleLightState(5)),
    ]
    answers = client.apply_batch_sync(batch, False)
    facts["batch"] = [answers[0].actor_id, answers[1].error]


def read_sensor(sensor: Any, world: Any) -> list[Any]:
    data: queue.Queue[Any] = queue.Queue()
    sensor.listen(data.put)
    for _ in range(50):
        world.tick()
        try:
            seen = data.get(timeout=0.2)
            break
        except queue.Empty:
            continue
    sensor.stop()
    facts = [seen.frame > 0, seen.timestamp, pose(seen.transform)]
    kind = sensor.type_id
    if "camera" in kind:
        return [*facts, seen.width, seen.height, seen.fov, list(bytes(seen.raw_data))]
    if kind == "sensor.lidar.ray_cast":
        points = [[p.point.x, p.point.y, p.point.z, p.intensity] for p in seen]
        counts = [seen.get_point_count(channel) for channel in range(seen.channels)]
        return [*facts, seen.horizontal_angle, counts, points]
    if kind == "sensor.lidar.ray_cast_semantic":
        points = [[*vector(p.point), p.cos_inc_angle, p.object_idx, p.object_tag] for p in seen]
        return [*facts, seen.horizontal_angle, points]
    if kind == "sensor.other.gnss":
        return [*facts, seen.latitude, seen.longitude, seen.altitude]
    if kind == "sensor.other.imu":
        return [*facts, vector(seen.accelerometer), vector(seen.gyroscope), seen.compass]
    return [*facts, seen.actor.id, seen.other_actor.id, vector(seen.normal_impulse)]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        Probe().run()
    else:
        print(json.dumps(read(int(sys.argv[2]))), flush=True)
        # The client's threads race its teardown and now and then abort the process (signal 6).
        os._exit(0)
