"""From a name to a robot."""

from __future__ import annotations

from robo.robots.clock import Clock
from robo.robots.lerobot import LeRobotConfig, LeRobotRobot
from robo.robots.policies import load_object
from robo.robots.robot import Robot, RobotError
from robo.robots.simulated import SimulatedConfig, SimulatedRobot

PARTS = ("capabilities", "connect", "read", "send", "hold", "stop", "close")


def make_robot(
    name: str, simulated: SimulatedConfig, lerobot: LeRobotConfig, clock: Clock
) -> Robot:
    """The robot called ``name``, not yet connected.

    Args:
        name: ``simulated``, ``lerobot``, or ``module:NAME`` of a driver of one's own, a class
            without arguments.
        simulated: settings of the simulated robot.
        lerobot: settings of the adapter.
        clock: of the loop; only the simulated robot runs on a virtual one.

    Raises:
        RobotError: where there is no such robot.
    """
    if name == "simulated":
        return SimulatedRobot(simulated, clock)
    if name == "lerobot":
        return LeRobotRobot(lerobot)
    if ":" not in name:
        raise RobotError(
            f"there is no robot {name!r}, expected simulated, lerobot, or module:NAME of your own "
            "driver (docs/real_robot.md)"
        )
    robot = load_object(name, "robot")()
    # Not isinstance: it would read ``capabilities``, which may be known after connect() only.
    missing = [part for part in PARTS if not hasattr(type(robot), part) and part not in vars(robot)]
    if missing:
        raise RobotError(f"{name} is no robot: it lacks {missing} (docs/real_robot.md)")
    return robot
