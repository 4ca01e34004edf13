"""What clients may do to traffic lights."""

from __future__ import annotations

from robo.sim.carla.standin.episode import Episode

Vector = tuple[float, float, float]

LAMP_HEIGHT, LAMP_EXTENT = 5.0, (0.26, 0.2, 0.58)
"""Metres of a lamp above the foot of its pole, and its half sizes."""


class LightCommands(Episode):
    """State and times of traffic lights, by actor id.

    Every method raises StandinError where the actor is no traffic light.
    """

    def _light(self, id: int) -> int:
        """Index of a traffic light among :attr:`lights`."""
        return self._light_index[self._of_kind(id, "traffic_light").id]

    def set_light_state(self, id: int, state: int) -> None:
        """Show a state (0 red, 1 yellow, 2 green, 3 off) until its junction's next change."""
        self.lights.set_state(self._light(id), state)

    def set_light_times(
        self,
        id: int,
        green: float | None = None,
        yellow: float | None = None,
        red: float | None = None,
    ) -> None:
        """Set times of a light, seconds; ``red`` is the pause between two phases."""
        self.lights.set_times(self._light(id), green, yellow, red)

    def freeze_light(self, id: int, frozen: bool) -> None:
        """Hold the lights of a light's junction, or let them go on."""
        self.lights.freeze(self._light(id), frozen)

    def freeze_all(self, frozen: bool) -> None:
        """Hold all lights, or let all go on."""
        self.lights.freeze_all(frozen)

    def reset_lights(self) -> None:
        """Begin the cycle of every junction anew."""
        self.lights.restart()

    def reset_light_group(self, id: int) -> None:
        """Begin the cycle of a light's junction anew."""
        self.lights.restart_group(self._light(id))

    def light_group(self, id: int) -> list[int]:
        """Ids of the lights at the same junction, the light itself among them."""
        plan = self.lights.plan
        members = plan.members[plan.group[self._light(id)]]
        return [int(self._light_ids[member]) for member in members]

    def light_boxes(self, id: int) -> list[tuple[Vector, Vector, Vector]]:
        """Middle (m), half sizes (m) and rotation (degrees) of a light's lamps, in the world."""
        x, y, z, pitch, yaw, roll = self.lights.plan.lights[self._light(id)].pose
        return [((x, y, z + LAMP_HEIGHT), LAMP_EXTENT, (pitch, yaw, roll))]
