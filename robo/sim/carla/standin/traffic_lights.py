"""Traffic lights: phases of each junction, and their clock.

The lights of a junction form a group. Its phases take turns; lights of one phase are never in
conflict, that is, none of the ways that they release cross or merge.
"""

from __future__ import annotations

import numpy as np

from robo.sim.carla.standin.junctions import Junctions
from robo.sim.carla.standin.landmarks import Signal
from robo.sim.carla.standin.lanes import LaneGraph

RED, YELLOW, GREEN, OFF, UNKNOWN = range(5)
GREEN_TIME, YELLOW_TIME, RED_TIME = 10.0, 3.0, 2.0
"""Default seconds; red is the pause in which all of a junction is red between two phases."""
_TINY = 1e-9


class LightPlan:
    """The lights of a map: fixed, shared by all worlds on it.

    Attributes:
        lights: the physical lights, [L].
        group: the group of each light, int [L].
        phase: the phase of its group in which it is green, int [L].
        phases: number of phases of each group, int [G].
        node_light: the light whose trigger volume holds a lane node, or -1, int [M].
        way_light: light of a segment inside a junction, by segment.
        lane_light: light at the end of a segment, by segment.
    """

    def __init__(self, lights: list[Signal], graph: LaneGraph, junctions: Junctions) -> None:
        """Group the lights and spread them over phases."""
        self.lights = lights
        groups: dict[int, list[int]] = {}
        for number, light in enumerate(lights):
            # A light outside junctions is a group of its own.
            key = light.junction if light.junction >= 0 else -1 - number
            groups.setdefault(key, []).append(number)
        self.group = np.zeros(len(lights), int)
        self.phase = np.zeros(len(lights), int)
        self.members = list(groups.values())
        phases = []
        for number, members in enumerate(self.members):
            self.group[members] = number
            phases.append(self._assign(members, junctions))
        self.phases = np.array(phases, int)
        self.node_light = np.full(len(graph.x), -1)
        self.way_light: dict[int, int] = {}
        self.lane_light: dict[int, int] = {}
        for number, light in reversed(list(enumerate(lights))):
            self.node_light[list(light.nodes)] = number
            self.way_light.update(dict.fromkeys(light.ways, number))
            self.lane_light.update(dict.fromkeys(light.lanes, number))

    def _assign(self, members: list[int], junctions: Junctions) -> int:
        """Spread the lights of a group over as few phases as a first fit needs."""
        phases: list[list[int]] = []
        for light in members:
            fitting = (
                number
                for number, phase in enumerate(phases)
                if not any(self.in_conflict(light, other, junctions) for other in phase)
            )
            number = next(fitting, len(phases))
            if number == len(phases):
                phases.append([])
            phases[number].append(light)
            self.phase[light] = number
        return len(phases)

    def in_conflict(self, a: int, b: int, junctions: Junctions) -> bool:
        """Whether two lights release ways that cross or merge."""
        ways = self.lights[b].ways
        return any(junctions.conflicts[way].intersection(ways) for way in self.lights[a].ways)


class TrafficLights:
    """State and clock of the lights of one world.

    Attributes:
        plan: the map's lights.
        color: state of each light (0 red, 1 yellow, 2 green, 3 off, 4 unknown), int [L].
        elapsed: seconds that it has been in that state, [L].
        green, yellow, red: times of each light in seconds, [L]; a phase lasts as long as the
            longest of its lights.
        frozen: of each light, bool [L]; a frozen light holds its whole group.
        changed: whether anything but ``elapsed`` changed since it was last cleared.
    """

    def __init__(self, plan: LightPlan) -> None:
        """With default times, each cycle at its beginning."""
        self.plan = plan
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Default times and the beginning of the cycles, at random points of them given a seed."""
        amount, groups = len(self.plan.lights), len(self.plan.members)
        self.color = np.full(amount, RED)
        self.elapsed = np.zeros(amount)
        self.green = np.full(amount, GREEN_TIME)
        self.yellow = np.full(amount, YELLOW_TIME)
        self.red = np.full(amount, RED_TIME)
        self.frozen = np.zeros(amount, bool)
        self.restart(seed)
        self._running = np.ones(groups, bool)
        self._all_running = True

    def restart(self, seed: int | None = None) -> None:
        """Begin all cycles anew, keeping the times."""
        groups = len(self.plan.members)
        self._stage = np.full(groups, GREEN)
        self._current = np.zeros(groups, int)
        self._age = np.zeros(groups)
        if seed is not None:
            random = np.random.default_rng([seed, 1])
            self._current = random.integers(0, self.plan.phases) if groups else self._current
            self._age = np.floor(random.uniform(0.0, GREEN_TIME, groups))
        self._left = np.zeros(groups)
        for group in range(groups):
            self._enter(group, age=float(self._age[group]))
        self._next = float(self._left.min()) if groups else np.inf
        self.elapsed[:] = self._age[self.plan.group] if groups else 0.0
        self.changed = True

    def restart_group(self, light: int) -> None:
        """Begin the cycle of a light's group anew."""
        group = int(self.plan.group[light])
        self._stage[group], self._current[group] = GREEN, 0
        self._enter(group)
        self._wake()

    def _enter(self, group: int, age: float = 0.0) -> None:
        """Show the current stage of a group's phase, and set its clock."""
        members = np.array(self.plan.members[group])
        stage, green = self._stage[group], self._current[group]
        lit = self.plan.phase[members] == green
        self.color[members] = np.where(lit, stage, RED)
        times = {GREEN: self.green, YELLOW: self.yellow, RED: self.red}[int(stage)]
        self._age[group] = age
        self._left[group] = float(times[members[lit]].max()) - age
        self.elapsed[members] = age
        self.changed = True

    def tick(self, dt: float) -> None:
        """Advance the clocks by ``dt`` seconds."""
        if not len(self.color):
            return
        if self._all_running:
            self.elapsed += dt
            self._left -= dt
        else:
            self.elapsed[self._running[self.plan.group]] += dt
            self._left[self._running] -= dt
        self._next -= dt
        if self._next > _TINY:
            return
        for group in np.flatnonzero((self._left <= _TINY) & self._running).tolist():
            self._advance(group)
        running = self._left[self._running]
        self._next = float(running.min()) if len(running) else np.inf

    def _advance(self, group: int) -> None:
        stage = int(self._stage[group])
        self._stage[group] = {GREEN: YELLOW, YELLOW: RED, RED: GREEN}[stage]
        if stage == RED:
            self._current[group] = (self._current[group] + 1) % self.plan.phases[group]
        self._enter(group)

    def set_state(self, light: int, state: int) -> None:
        """Show a state until the light's group changes next."""
        self.color[light] = state
        self.elapsed[light] = 0.0
        self.changed = True

    def set_times(
        self,
        light: int,
        green: float | None = None,
        yellow: float | None = None,
        red: float | None = None,
    ) -> None:
        """Set a light's times in seconds; they hold from its next change on."""
        for times, seconds in ((self.green, green), (self.yellow, yellow), (self.red, red)):
            if seconds is not None:
                times[light] = max(float(seconds), 0.0)
        self.changed = True

    def freeze(self, light: int, frozen: bool) -> None:
        """Hold a light and its group in their state, or let them go on."""
        group = int(self.plan.group[light])
        self.frozen[self.plan.members[group]] = frozen
        self._running[group] = not frozen
        self._wake()

    def freeze_all(self, frozen: bool) -> None:
        """Hold all lights, or let all go on."""
        self.frozen[:] = frozen
        self._running[:] = not frozen
        self._wake()

    def _wake(self) -> None:
        self._next = 0.0
        self._all_running = bool(self._running.all())
        self.changed = True
