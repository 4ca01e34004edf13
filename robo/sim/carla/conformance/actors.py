"""Checks of actors of every kind: spawning, reading, moving, batches, walkers."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from robo.sim.carla.conformance.session import EGO, Check, Outcome, Session, check

CHECKS: list[Check] = []
_check = partial(check, CHECKS)
WALKER = "walker.pedestrian.0001"


def _speed(actor: Any) -> float:
    """Speed in the plane, m/s."""
    velocity = actor.get_velocity()
    return math.hypot(velocity.x, velocity.y)


@_check("World.spawn_actor", "a vehicle that stands where it was put after the next tick")
def _spawn_actor(session: Session) -> Outcome:
    place = session.place()
    vehicle = session.vehicle(place)
    location = vehicle.get_location()
    gap = math.hypot(location.x - place.location.x, location.y - place.location.y)
    return vehicle.type_id == EGO and vehicle.is_alive and gap < 0.2, (vehicle.type_id, gap)


@_check("World.spawn_actor at a taken place", "RuntimeError that tells of a collision")
def _spawn_taken(session: Session) -> Outcome:
    place = session.place()
    session.vehicle(place)
    try:
        session.vehicle(place)
    except RuntimeError as error:
        return "collision" in str(error), str(error)
    return False, "a second vehicle in the first one's place"


@_check("World.try_spawn_actor at a taken place", "None")
def _try_spawn_taken(session: Session) -> Outcome:
    place = session.place()
    session.vehicle(place)
    blueprint = session.world.get_blueprint_library().find(EGO)
    found = session.world.try_spawn_actor(blueprint, place)
    return found is None, found


@_check("World.get_actor", "the actor, and None for an unknown id")
def _get_actor(session: Session) -> Outcome:
    vehicle = session.vehicle()
    found, unknown = session.world.get_actor(vehicle.id), session.world.get_actor(4_000_000)
    return found.id == vehicle.id and unknown is None, (found, unknown)


@_check("World.get_actors", "all actors; filter() finds vehicles, find() an id")
def _get_actors(session: Session) -> Outcome:
    vehicle = session.vehicle()
    actors = session.world.get_actors()
    vehicles = [actor.id for actor in actors.filter("vehicle.*")]
    by_id = [actor.id for actor in session.world.get_actors([vehicle.id])]
    found = actors.find(vehicle.id)
    return vehicle.id in vehicles and by_id == [vehicle.id] and found.id == vehicle.id, vehicles


@_check("Actor.attributes", "the blueprint's attributes with the values that were set")
def _attributes(session: Session) -> Outcome:
    vehicle = session.spawn(EGO, session.place(), role_name="hero")
    found = dict(vehicle.attributes)
    return found.get("role_name") == "hero" and found.get("number_of_wheels") == "4", found


@_check("Actor.semantic_tags", "the tag of cars, 14")
def _semantic_tags(session: Session) -> Outcome:
    tags = list(session.vehicle().semantic_tags)
    return 14 in tags, tags


@_check("Actor.bounding_box", "half sizes of a car, its centre above the ground")
def _bounding_box(session: Session) -> Outcome:
    box = session.vehicle().bounding_box
    sizes = box.extent.x, box.extent.y, box.extent.z
    plausible = 1.5 < sizes[0] < 3.5 and 0.6 < sizes[1] < 1.6 and 0.5 < sizes[2] < 1.5
    return plausible and box.location.z > 0.3, sizes


@_check("Actor.parent", "what a sensor is attached to")
def _parent(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    place = carla.Transform(carla.Location(z=2.0))
    sensor = session.spawn("sensor.other.gnss", place, attach_to=vehicle)
    session.tick()
    gap = sensor.get_location().z - vehicle.get_location().z
    found = sensor.parent.id if sensor.parent else None
    return found == vehicle.id and abs(gap - 2.0) < 0.2, (found, vehicle.id, gap)


@_check("Actor.set_transform", "the pose is taken at the next tick")
def _set_transform(session: Session) -> Outcome:
    vehicle, target = session.vehicle(), session.place(3)
    vehicle.set_simulate_physics(False)
    vehicle.set_transform(target)
    session.tick(2)
    found = vehicle.get_transform()
    turn = (found.rotation.yaw - target.rotation.yaw + 180.0) % 360.0 - 180.0
    gap = found.location.distance(target.location)
    return gap < 0.5 and abs(turn) < 1.0, (gap, turn)


@_check("Actor.set_location", "the place is taken at the next tick, the heading stays")
def _set_location(session: Session) -> Outcome:
    vehicle, target = session.vehicle(), session.place(2)
    before = vehicle.get_transform().rotation.yaw
    vehicle.set_simulate_physics(False)
    vehicle.set_location(target.location)
    session.tick(2)
    found = vehicle.get_transform()
    gap = found.location.distance(target.location)
    return gap < 0.5 and abs(found.rotation.yaw - before) < 1.0, gap


@_check("Actor.set_target_velocity", "about the velocity that was set")
def _set_target_velocity(session: Session) -> Outcome:
    place = session.straight_place()
    vehicle = session.vehicle(place)
    vehicle.set_target_velocity(5.0 * place.get_forward_vector())
    session.tick()
    return 3.0 < _speed(vehicle) < 6.0, _speed(vehicle)


@_check("Actor.set_target_angular_velocity", "the vehicle turns")
def _set_target_angular_velocity(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    before = vehicle.get_transform().rotation.yaw
    for _ in range(5):
        vehicle.set_target_angular_velocity(carla.Vector3D(0.0, 0.0, 30.0))
        session.tick()
    turn = (vehicle.get_transform().rotation.yaw - before + 180.0) % 360.0 - 180.0
    return 0.2 < turn < 15.0, turn


@_check("Actor.enable_constant_velocity", "the velocity stays, in the vehicle's frame")
def _constant_velocity(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle(session.straight_place())
    vehicle.enable_constant_velocity(carla.Vector3D(4.0, 0.0, 0.0))
    session.tick(10)
    held = _speed(vehicle)
    vehicle.disable_constant_velocity()
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    session.tick(40)
    return 3.5 < held < 4.5 and _speed(vehicle) < 1.0, (held, _speed(vehicle))


@_check("Actor.add_impulse", "speed of impulse over mass, less friction")
def _add_impulse(session: Session) -> Outcome:
    place = session.straight_place()
    vehicle = session.vehicle(place)
    mass = vehicle.get_physics_control().mass
    vehicle.add_impulse(5.0 * mass * place.get_forward_vector())
    session.tick()
    return 1.0 < _speed(vehicle) < 6.0, _speed(vehicle)


@_check("Actor.add_force", "the vehicle moves off")
def _add_force(session: Session) -> Outcome:
    place = session.straight_place()
    vehicle = session.vehicle(place)
    mass = vehicle.get_physics_control().mass
    for _ in range(10):
        vehicle.add_force(10.0 * mass * place.get_forward_vector())
        session.tick()
    return _speed(vehicle) > 0.5, _speed(vehicle)


@_check("Actor.add_angular_impulse, add_torque", "accepted, and the vehicle stays alive")
def _spin(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    vehicle.add_angular_impulse(carla.Vector3D(0.0, 0.0, 100.0))
    vehicle.add_torque(carla.Vector3D(0.0, 0.0, 100.0))
    session.tick(2)
    return vehicle.is_alive, vehicle.get_angular_velocity().z


@_check("Actor.set_simulate_physics", "a frozen vehicle does not move")
def _simulate_physics(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    vehicle.set_simulate_physics(False)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0))
    before = vehicle.get_location()
    session.tick(10)
    moved = before.distance(vehicle.get_location())
    vehicle.set_simulate_physics(True)
    return moved < 0.1, moved


@_check("Actor.set_enable_gravity, set_collisions", "accepted")
def _gravity(session: Session) -> Outcome:
    vehicle = session.vehicle()
    vehicle.set_enable_gravity(False)
    vehicle.set_enable_gravity(True)
    session.tick()
    return vehicle.is_alive, "accepted"


@_check("Actor.destroy", "True once; then the actor is gone")
def _destroy(session: Session) -> Outcome:
    vehicle = session.vehicle()
    destroyed = vehicle.destroy()
    session.tick()
    gone = vehicle.id not in [actor.id for actor in session.world.get_actors()]
    return destroyed and gone and not vehicle.is_alive, (destroyed, gone)


@_check("Client.apply_batch_sync", "ids of what was spawned, errors for what was not")
def _apply_batch_sync(session: Session) -> Outcome:
    import carla

    blueprint = session.world.get_blueprint_library().find(EGO)
    throttle = carla.VehicleControl(throttle=1.0)
    spawn = carla.command.SpawnActor(blueprint, session.straight_place())
    # The client's type stubs have no word for this stand-in.
    future: Any = carla.command.FutureActor
    then = spawn.then(carla.command.ApplyVehicleControl(future, throttle))
    first, second = session.client.apply_batch_sync([then, spawn], False)
    session.tick(20)
    vehicle = session.world.get_actor(first.actor_id)
    session.spawned.append(vehicle)
    return not first.error and "collision" in second.error and _speed(vehicle) > 0.5, (
        first.error,
        second.error,
        _speed(vehicle),
    )


@_check("Client.apply_batch_sync, kinds of commands", "every command is answered without error")
def _batch_commands(session: Session) -> Outcome:
    import carla

    vehicle, place = session.vehicle(), session.place()
    id, zero, make = vehicle.id, carla.Vector3D(), carla.command
    commands = [
        make.ApplyTransform(id, place),
        make.ApplyVehicleControl(id, carla.VehicleControl(brake=1.0)),
        make.ApplyVehicleAckermannControl(id, carla.VehicleAckermannControl()),
        make.ApplyVehiclePhysicsControl(id, vehicle.get_physics_control()),
        make.ApplyTargetVelocity(id, zero),
        make.ApplyTargetAngularVelocity(id, zero),
        make.ApplyImpulse(id, zero),
        make.ApplyForce(id, zero),
        make.ApplyAngularImpulse(id, zero),
        make.ApplyTorque(id, zero),
        make.SetSimulatePhysics(id, True),
        make.SetEnableGravity(id, True),
        make.SetVehicleLightState(id, carla.VehicleLightState.LowBeam),
    ]
    answers = session.client.apply_batch_sync(commands, False)
    session.tick()
    lit = vehicle.get_light_state() == carla.VehicleLightState.LowBeam
    errors = [answer.error for answer in answers if answer.error]
    return not errors and lit and len(answers) == len(commands), (errors, lit)


@_check("Client.apply_batch", "commands take effect at the next tick")
def _apply_batch(session: Session) -> Outcome:
    import carla

    vehicle = session.vehicle()
    session.client.apply_batch([carla.command.DestroyActor(vehicle.id)])
    session.tick()
    ids = [actor.id for actor in session.world.get_actors()]
    session.spawned.remove(vehicle)
    return vehicle.id not in ids, ids


@_check("WalkerAIController", "spawns on a walker, starts and stops")
def _walker_controller(session: Session) -> Outcome:
    import carla

    place = session.place()
    place.location.z += 1.0
    walker = session.spawn(WALKER, place)
    controller = session.spawn("controller.ai.walker", carla.Transform(), attach_to=walker)
    session.tick()
    controller.start()
    controller.set_max_speed(1.4)
    session.tick()
    controller.stop()
    return controller.is_alive, controller.type_id


@_check("Walker.apply_control", "walks in the direction at the speed; get_control reads it back")
def _walker_control(session: Session) -> Outcome:
    import carla

    place = session.place()
    direction = place.get_forward_vector()
    place.location.z += 1.0
    walker = session.spawn(WALKER, place)
    session.tick()
    before = walker.get_location()
    walker.apply_control(carla.WalkerControl(direction, 1.5, False))
    session.tick(20)
    moved = before.distance(walker.get_location())
    return 0.7 < moved < 2.2 and abs(walker.get_control().speed - 1.5) < 0.01, moved
