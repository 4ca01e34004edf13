"""Running a red light."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.sim.carla.driving_state import RED, YELLOW, Ego
from robo.sim.carla.traffic_rules import StopLines


def rear_bumper(ego: Ego) -> np.ndarray:
    """Middle of the ego's rear end ``[2]``, m."""
    return ego.center[:2] - ego.extent[0] * ego.forward


class RedLightDetector:
    """Fires on the step in which the rear bumper crosses a stop line while its light is red.

    The rear, as in the CARLA leaderboard: who has entered the junction before red may leave it,
    and who creeps over the line on red and drives on is caught. Yellow is no infraction (CaRL),
    unless asked for.
    """

    def __init__(self, lines: StopLines, penalize_yellow: bool = False) -> None:
        """Watch ``lines``."""
        self.lines = lines
        self.states = (RED, YELLOW) if penalize_yellow else (RED,)
        self._before: np.ndarray | None = None

    def reset(self) -> None:
        """Forget where the ego was."""
        self._before = None

    def update(self, ego: Ego, light_state: np.ndarray) -> bool:
        """Whether a red light was run in this step.

        Args:
            ego: After the step.
            light_state: ``[S]``, state of each line's light after the step.

        Raises:
            ValueError: ``light_state`` does not hold one state per stop line.
        """
        if len(light_state) != len(self.lines):
            raise ValueError(
                f"{len(light_state)} light states for {len(self.lines)} stop lines: give one "
                "state per line, in the order of StopLines"
            )
        before, self._before = self._before, rear_bumper(ego)
        if before is None:
            return False
        driven = float(np.abs(self._before - before).sum())
        if not self.lines.any_near(self._before, driven):
            return False
        crossed = self.lines.crossed(before, self._before)
        return any(bool((crossed & (light_state == state)).any()) for state in self.states)

    def state_dict(self) -> dict[str, Any]:
        """Where the rear bumper was."""
        return {"before": None if self._before is None else self._before.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        before = state["before"]
        self._before = None if before is None else np.array(before, np.float64)
