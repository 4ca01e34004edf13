"""A simulated arm inside its envelope, on a clock that costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from robo.robots.clock import Clock, VirtualClock
from robo.robots.safety import Envelope, SafetyConfig, SafetyEvent
from robo.robots.simulated import SimulatedConfig, SimulatedRobot


class Rig:
    """Robot, envelope, clock and the events that came."""

    def __init__(self, config: SimulatedConfig, clock: Clock, safety: SafetyConfig) -> None:
        self.clock = clock
        self.robot = SimulatedRobot(config, clock)
        self.events: list[SafetyEvent] = []
        self.envelope = Envelope(self.robot, safety, clock, self.events.append)
        self.envelope.connect()

    def actions(self) -> list[str]:
        return [event.action for event in self.events]


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(
        clock: Clock | None = None, safety: SafetyConfig | None = None, **options: object
    ) -> Rig:
        config = SimulatedConfig(**{"size": 0, "task": "mujoco/Reach", **options})  # type: ignore[arg-type]
        made.append(Rig(config, clock or VirtualClock(), safety or SafetyConfig()))
        return made[-1]

    yield make
    for rig in made:
        rig.envelope.close()
