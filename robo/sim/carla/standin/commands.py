"""What clients may do to vehicles and walkers; all of it takes effect in the next tick."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robo.sim.carla.standin import dynamics
from robo.sim.carla.standin.actors import DRIVE, Actor
from robo.sim.carla.standin.episode import Episode, finite_pose
from robo.sim.carla.standin.errors import StandinError
from robo.sim.carla.standin.layouts import (
    AckermannControl,
    EpisodeSettings,
    VehicleControl,
    VehiclePhysics,
)

DEFAULT_DELTA = 0.05
"""Seconds per tick where the settings name none."""


class Commands(Episode):
    """Control and physics of actors, by actor id.

    Every method raises StandinError where there is no such actor or it is of the wrong kind.
    """

    settings: EpisodeSettings

    @property
    def delta(self) -> float:
        """Seconds per tick."""
        return self.settings.fixed_delta_seconds or DEFAULT_DELTA

    def set_vehicle_control(self, id: int, control: VehicleControl) -> None:
        """Set pedals and steer of a vehicle; they hold until set again."""
        self._ackermann.pop(id, None)
        self._write_control(self._of_kind(id, "vehicle"), control)

    def _write_control(self, actor: Actor, control: VehicleControl) -> None:
        throttle, steer, brake, hand_brake, reverse, manual, gear = control
        throttle, steer, brake = _clip(throttle, 0.0), _clip(steer, -1.0), _clip(brake, 0.0)
        backwards = bool(reverse or (manual and gear < 0))
        row, table = actor.row, self.table
        table.write_control(row, throttle, steer, brake, hand_brake, reverse, backwards)
        if manual or table.shifts_manually(row):
            record = table.records[row]["vehicle"]
            self._changed |= bool(manual != record["manual_gear_shift"])
            record["manual_gear_shift"], record["gear"] = manual, gear

    def set_ackermann(self, id: int, control: AckermannControl) -> None:
        """Let a vehicle reach a speed and wheel angle; holds until it is controlled again."""
        self._of_kind(id, "vehicle")
        self._ackermann[id] = control

    def set_walker_control(
        self, id: int, direction: Sequence[float], speed: float, jump: bool = False
    ) -> None:
        """Let a walker go in a direction (world frame) at a speed in m/s."""
        actor = self._of_kind(id, "walker")
        drive = self.table.drive[actor.row]
        size = math.hypot(direction[0], direction[1])
        if size > 0.0:
            drive[DRIVE["direction_x"]] = direction[0] / size
            drive[DRIVE["direction_y"]] = direction[1] / size
        drive[DRIVE["walk"]] = max(float(speed), 0.0) if size > 0.0 else 0.0
        record = self.table.records[actor.row]["walker"]
        record["direction"], record["speed"], record["jump"] = direction, speed, jump

    def set_transform(self, id: int, transform: Sequence[float]) -> None:
        """Put an actor somewhere (m, degrees), keeping its speed along its new heading.

        The pose of an attached actor is relative to its parent.
        """
        actor = self.actor(id)
        pose = finite_pose(transform)
        if actor.relative is not None:
            actor.relative = pose
            pose = self._pose_on(actor.parent, pose)
        self.table.state[actor.row, :6] = pose

    def set_location(self, id: int, location: Sequence[float]) -> None:
        """Put an actor somewhere (m), keeping its rotation."""
        actor = self.actor(id)
        rotation = actor.relative[3:] if actor.relative else self.table.pose(actor.row)[3:]
        self.set_transform(id, (*location, *rotation))

    def set_target_velocity(self, id: int, velocity: Sequence[float]) -> None:
        """Set the velocity of a vehicle or walker at once, m/s in the world's frame."""
        actor = self.actor(id)
        state = self.table.state[actor.row]
        self._push(actor, velocity[0] - state[6], velocity[1] - state[7])

    def set_target_angular_velocity(self, id: int, velocity: Sequence[float]) -> None:
        """Set the spin of a vehicle about the vertical, degrees per second; it dies out."""
        actor = self.actor(id)
        self.table.drive[actor.row, DRIVE["spin"]] = velocity[2]
        self.motion.sliding = True

    def add_impulse(self, id: int, impulse: Sequence[float]) -> None:
        """Push an actor by an impulse, N s in the world's frame."""
        actor = self.actor(id)
        mass = float(self.table.drive[actor.row, DRIVE["mass"]])
        self._push(actor, impulse[0] / mass, impulse[1] / mass)

    def add_force(self, id: int, force: Sequence[float]) -> None:
        """Push an actor by a force during the next tick, N in the world's frame."""
        self.actor(id)
        before = self._forces.setdefault(id, [0.0, 0.0])
        before[0] += force[0]
        before[1] += force[1]

    def _push(self, actor: Actor, dx: float, dy: float) -> None:
        if actor.kind in ("vehicle", "walker") and actor.simulated:
            self.collider.push_row(actor.row, dx, dy, actor.kind == "walker")
            self.motion.sliding = True

    def set_simulate_physics(self, id: int, enabled: bool) -> None:
        """Let physics move an actor, or leave it where it is put."""
        actor = self.actor(id)
        actor.simulated = bool(enabled) and actor.relative is None
        if not enabled:
            self.table.state[actor.row, 6:15] = 0.0
            self.table.drive[actor.row, DRIVE["speed"] : DRIVE["spin"] + 1] = 0.0
        self._changed = True

    def set_autopilot(self, id: int, enabled: bool) -> None:
        """Let the server drive a vehicle, or leave it to its client."""
        self._of_kind(id, "vehicle").autopilot = bool(enabled)
        self._changed = True

    def set_walker_state(self, id: int, transform: Sequence[float], speed: float) -> None:
        """Place a walker (m, degrees) that goes on along its heading at a speed in m/s."""
        self.set_transform(id, transform)
        yaw = math.radians(transform[4])
        self.set_walker_control(id, (math.cos(yaw), math.sin(yaw), 0.0), speed)

    def set_constant_velocity(self, id: int, velocity: Sequence[float] | None) -> None:
        """Hold a velocity (m/s in the actor's frame) until it is let go with None."""
        self.actor(id)
        self._held.pop(id, None)
        if velocity is not None:
            self._held[id] = (float(velocity[0]), float(velocity[1]))

    def add_angular_impulse(self, id: int, impulse: Sequence[float]) -> None:
        """Turn a vehicle about the vertical, kg m^2 deg/s; the spin dies out."""
        drive = self.table.drive[self.actor(id).row]
        size = drive[DRIVE["extent_x"]] ** 2 + drive[DRIVE["extent_y"]] ** 2
        inertia = max(float(drive[DRIVE["mass"]] * size / 3.0), 1.0)
        drive[DRIVE["spin"]] += impulse[2] / inertia
        self.motion.sliding = True

    def add_torque(self, id: int, torque: Sequence[float]) -> None:
        """Turn a vehicle about the vertical during one tick, kg m^2 deg/s^2."""
        self.add_angular_impulse(id, [component * self.delta for component in torque])

    def set_physics_control(self, id: int, physics: VehiclePhysics) -> None:
        """Take a vehicle's mass (kg); its drive and tyres stay those of its blueprint.

        Raises:
            StandinError: the mass is not positive.
        """
        if not physics.mass > 0.0:
            raise StandinError(f"A mass of {physics.mass} kg is not possible: give more than 0.")
        self.table.drive[self._of_kind(id, "vehicle").row, DRIVE["mass"]] = physics.mass
        self._changed = True

    def set_collisions(self, id: int, enabled: bool) -> None:
        """Let an actor collide, or pass through others."""
        self.actor(id)
        (self._ghosts.discard if enabled else self._ghosts.add)(id)
        self._changed = True

    def steer_angle(self, id: int) -> float:
        """Angle of the front wheels, degrees, positive to the right."""
        wheel = self.table.drive[self._of_kind(id, "vehicle").row, DRIVE["wheel"]]
        return math.degrees(float(wheel) * dynamics.STEER_GAIN)

    def _apply_commands(self, dt: float) -> None:
        for id, command in self._ackermann.items():
            drive = self.table.drive[self.actors[id].row]
            wanted = dynamics.follow_ackermann(command, drive, dt)
            self._write_control(self.actors[id], wanted)
        for id, (x, y) in self._forces.items():
            mass = self.table.drive[self.actors[id].row, DRIVE["mass"]]
            self._push(self.actors[id], x * dt / mass, y * dt / mass)
        self._forces.clear()
        for id, (forward, right) in self._held.items():
            actor = self.actors[id]
            state = self.table.state[actor.row]
            yaw = math.radians(state[4])
            x = forward * math.cos(yaw) - right * math.sin(yaw)
            y = forward * math.sin(yaw) + right * math.cos(yaw)
            self._push(actor, x - state[6], y - state[7])


def _clip(value: float, low: float) -> float:
    """A pedal or steer within its range; NaN counts as released."""
    return (low if value < low else min(value, 1.0)) if value == value else 0.0
