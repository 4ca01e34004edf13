"""Which of two policies is better on a robot, blind and paired, in plain Python.

    python launch/evaluate_robot.py --policies expert:0.2 expert:1.0 --trials 10

`robo evaluate` does the same with every setting on its command line. The simulated robot needs no
hardware; docs/real_robot.md shows how to bring your own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robo.robots.evaluation import evaluate_on_robot
from robo.robots.evaluation_config import ComparisonConfig, EvaluationConfig, JudgingConfig
from robo.robots.loop import LoopConfig
from robo.robots.plan import Plan
from robo.robots.safety import SafetyConfig
from robo.robots.simulated import SimulatedConfig
from robo.storage import write_json


@dataclass(frozen=True)
class Config:
    """What to compare, on what, judged by whom."""

    policies: tuple[str, ...] = ("expert:0.3", "script:drop")
    """Run or policy folders, expert:NOISE, script:NAME, or module:NAME of your own."""
    out: Path = Path("runs/robot")
    """Folder of the record and the report."""
    robot: str = "simulated"
    """simulated, lerobot, or module:NAME of your own driver."""
    task: str = "mujoco/Lift"
    """Task id of the simulated robot; words on any other."""
    trials: int = 10
    """Trials of each policy: every initial state is run once by each."""
    operator: Literal["simulator", "keyboard", "browser"] = "simulator"
    """Who says how a trial ended."""
    seconds: float = 5.0
    """Time limit of a trial."""
    rate: float = 20.0
    """Commands per second."""
    real_time: bool = True
    """False lets the simulated robot's time pass as fast as it can be computed."""
    resume: bool = False
    """Go on with an interrupted evaluation."""


def main(config: Config) -> None:
    """Plan, run, report."""
    # 1. What is compared: blocks of one initial state, every policy once, in random order.
    plan = Plan(config.policies, (config.task,), config.trials)

    # 2. How: the loop, the envelope that no command goes around, the judge, the statistics.
    settings = EvaluationConfig(
        robot=config.robot,
        clock="wall" if config.real_time else "virtual",
        loop=LoopConfig(rate=config.rate, seconds=config.seconds, frame_stride=2),
        safety=SafetyConfig(command_deadline=0.25, stop_after=1.0),
        judging=JudgingConfig(operator=config.operator),
        comparison=ComparisonConfig(confidence=0.95, smallest_difference=0.2),
        simulated=SimulatedConfig(views=("front", "side"), size=128),
    )

    # 3. Every trial is on disk before the next one begins; names are sealed until the last.
    result = evaluate_on_robot(plan, settings, config.out, resume=config.resume)
    write_json(config.out / "result.json", result)

    # 4. What can be said.
    if not result["finished"]:
        print(f"{result['judged']} of {result['trials']} trials judged; --resume goes on")
        return
    for policy in result["policies"]:
        low, high = policy["interval"]
        print(
            f"{policy['name']}: {policy['successes']} of {policy['episodes']} "
            f"({low:.0%} to {high:.0%}), best with probability {policy['probability_best']:.0%}"
        )


if __name__ == "__main__":
    from script import run

    run(main, Config)
