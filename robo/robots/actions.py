"""From a policy's actions to commands: absolute targets in physical units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robo.robots.robot import Capabilities, Reading, RobotError
from robo.sim.mujoco.control import FINGER_STEP, LEAD, STEP
from robo.sim.mujoco.tasks import OPEN

ActionMap = Callable[[np.ndarray, np.ndarray, Reading], np.ndarray]
"""(action ``[A]``, last command sent ``[D]``, newest reading) to the wanted command ``[D]``."""


def tool_displacement(action: np.ndarray, last: np.ndarray, reading: Reading) -> np.ndarray:
    """Actions of ``mujoco/*`` in [-1, 1]: 2.5 cm per axis, 1.2 cm of the fingers.

    As in training, the target never runs more than 3.5 cm ahead of the tool.
    """
    command = last.copy()
    tool = np.asarray(reading.state["tool"], np.float64)
    command[:3] = np.clip(last[:3] + STEP * action[:3], tool - LEAD, tool + LEAD)
    command[3] = np.clip(last[3] + FINGER_STEP * action[3], 0.0, OPEN)
    return command


def absolute(action: np.ndarray, last: np.ndarray, reading: Reading) -> np.ndarray:
    """Actions that are commands already."""
    return np.asarray(action, np.float64)


def displacement(action: np.ndarray, last: np.ndarray, reading: Reading) -> np.ndarray:
    """Actions in physical units, relative to the last command."""
    return last + np.asarray(action, np.float64)


def scaled(capabilities: Capabilities) -> ActionMap:
    """Actions in [-1, 1] over the whole range of each target."""
    space = capabilities.command

    def command(action: np.ndarray, last: np.ndarray, reading: Reading) -> np.ndarray:
        return space.low + (np.asarray(action, np.float64) + 1) / 2 * (space.high - space.low)

    return command


def action_map(name: str, capabilities: Capabilities) -> ActionMap:
    """The map called ``name``: tool_displacement, absolute, displacement or scaled.

    Raises:
        RobotError: for another name, or where the robot's commands do not fit it.
    """
    maps: dict[str, ActionMap] = {
        "tool_displacement": tool_displacement,
        "absolute": absolute,
        "displacement": displacement,
        "scaled": scaled(capabilities),
    }
    if name not in maps:
        raise RobotError(f"there are no actions {name!r}, expected one of {list(maps)}")
    if name == "tool_displacement" and capabilities.command.tool != (0, 1, 2):
        raise RobotError(
            f"actions 'tool_displacement' need a robot that is told tool positions, but "
            f"{capabilities.name} is told {list(capabilities.command.names)}; choose another map"
        )
    return maps[name]
