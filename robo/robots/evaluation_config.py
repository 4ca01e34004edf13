"""Settings of an evaluation on a robot."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from robo.robots.lerobot import LeRobotConfig
from robo.robots.loop import LoopConfig
from robo.robots.robot import RobotError
from robo.robots.safety import SafetyConfig
from robo.robots.simulated import SimulatedConfig


@dataclass(frozen=True)
class JudgingConfig:
    """Who judges, and beside whom."""

    operator: Literal["simulator", "keyboard", "browser", "script"] = "simulator"
    """Who says how a trial ended. With "browser", keys in the terminal count too."""
    script: Path | None = None
    """Judgements of the scripted operator, JSON lines {"trial": 1, "outcome": "success"}."""
    grm: Path | None = None
    """Folder of a GRM that judges beside the operator; its verdict is shown in the report only."""
    grm_threshold: float = 0.9
    """Final progress from which the GRM calls a trial a success."""
    retries: int = 2
    """How often an invalid trial is repeated before it is left out."""
    page: bool = False
    """Serve the live page even where nobody needs it to judge."""
    port: int = 0
    """Port of the live page on this machine; 0 takes a free one."""

    def __post_init__(self) -> None:
        """Refuse an operator without his script."""
        if (self.operator == "script") != (self.script is not None):
            raise RobotError("operator 'script' and a --script file belong together: give both")
        if self.retries < 0 or not 0 < self.grm_threshold <= 1:
            raise RobotError(
                f"retries is {self.retries} and grm_threshold {self.grm_threshold}, expected at "
                "least 0 and a number in (0, 1]"
            )


@dataclass(frozen=True)
class ComparisonConfig:
    """How sure is sure."""

    confidence: float = 0.95
    """One minus the type-1 error of the comparison, and of every interval."""
    smallest_difference: float = 0.2
    """In success rate; smaller ones do not matter."""
    stop_early: bool = True
    """End as soon as the sequential test has found a difference between every two policies."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if not 0 < self.confidence < 1 or not 0 < self.smallest_difference <= 1:
            raise RobotError(
                f"confidence is {self.confidence} and smallest_difference "
                f"{self.smallest_difference}, expected numbers between 0 and 1, such as 0.95 and "
                "0.2"
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """Everything about the evaluation but its plan."""

    robot: str = "simulated"
    """simulated, lerobot, or module:NAME of your own driver."""
    clock: Literal["wall", "virtual"] = "wall"
    """Time of the simulated robot: the wall's, or a virtual one that never waits."""
    order_seed: int | None = None
    """Of order and codes; None draws a fresh one, as a blind evaluation should."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """The control loop."""
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    """The envelope."""
    judging: JudgingConfig = field(default_factory=JudgingConfig)
    """Operator, GRM and page."""
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    """Statistics."""
    simulated: SimulatedConfig = field(default_factory=SimulatedConfig)
    """The simulated robot."""
    lerobot: LeRobotConfig = field(default_factory=LeRobotConfig)
    """The adapter to lerobot."""

    def __post_init__(self) -> None:
        """Refuse virtual time for things that are real."""
        person = self.judging.operator in ("keyboard", "browser")
        if self.clock == "virtual" and (self.robot != "simulated" or person):
            raise RobotError(
                "virtual time suits the simulated robot without a person only: choose --clock wall"
            )
