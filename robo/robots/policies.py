"""Policies for a robot: trained ones, scripted ones to try the loop with, or one's own code."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robo.robots.robot import Reading, RobotError

Observation = dict[str, np.ndarray]
"""Name to array, without a batch axis: the reading's state, and ``views/<role>``."""


class RobotPolicy(Protocol):
    """What chooses actions: a chunk of H of them per observation."""

    def reset(self, seed: int) -> None:
        """A trial begins."""
        ...

    def __call__(self, observation: Observation) -> np.ndarray:
        """Actions ``[H, A]`` for this tick and the H - 1 after it."""
        ...


def observation_of(reading: Reading) -> Observation:
    """What a policy sees of a reading."""
    views = {f"views/{role}": view.image for role, view in reading.views.items()}
    return {**{name: np.asarray(value) for name, value in reading.state.items()}, **views}


class TrainedPolicy:
    """A policy that ``robo train`` wrote: one action per observation, its most likely one."""

    def __init__(self, folder: Path) -> None:
        """Load it.

        Raises:
            RoboError: where there is none, or it is damaged.
        """
        from robo.policies.policy_files import load_policy
        from robo.policies.run_folder import find_policy

        self.policy = load_policy(find_policy(folder))
        self._generator = np.random.default_rng(0)

    def reset(self, seed: int) -> None:
        """Nothing is kept between observations."""
        self._generator = np.random.default_rng(seed)

    def __call__(self, observation: Observation) -> np.ndarray:
        """One action, ``[1, A]``, or the chunk that the policy plans, ``[K, A]``.

        Raises:
            RobotError: where the robot does not show what the policy reads.
        """
        space = self.policy.observation_space
        missing = [name for name in space.spaces if name not in observation]
        if missing:
            raise RobotError(
                f"the policy reads {missing}, but the robot shows {sorted(observation)}"
            )
        batch = {name: observation[name][None] for name in space.spaces}
        action, _ = self.policy.act(batch, self._generator, deterministic=True)
        planned = np.asarray(self.policy.environment_action(action), np.float64)
        return planned if self.policy.chunk == 1 else planned.reshape(self.policy.chunk, -1)


class ScriptedPolicy:
    """The scripted expert of a ``mujoco/*`` task, with noise or a failure script."""

    def __init__(self, task: str, noise: float = 0.0, script: str = "expert") -> None:
        """``noise`` is in units of the action range.

        Raises:
            RoboError: where the task has no such script.
        """
        from robo.sim.mujoco.expert import ExpertStyle, make_expert

        self.task, self.script = task, script
        self.style = ExpertStyle(noise=noise, slowest=1.0, detour=0.0)
        self.actor = make_expert(task, self.style, 0, script)
        self._started = True

    def reset(self, seed: int) -> None:
        """Draw the noise from ``seed``."""
        from robo.sim.mujoco.expert import make_expert

        self.actor = make_expert(self.task, self.style, seed, self.script)
        self._started = True

    def __call__(self, observation: Observation) -> np.ndarray:
        """One action, ``[1, 4]``."""
        started, self._started = np.array([self._started]), False
        return self.actor({"state": observation["state"][None]}, started).astype(np.float64)


def load_robot_policy(spec: str, task: str) -> RobotPolicy:
    """The policy that a plan names.

    Args:
        spec: a run or policy folder; ``expert`` or ``expert:NOISE``, the task's scripted expert
            with Gaussian noise on its actions; ``script:NAME``, a failure script; or
            ``module:NAME``, a class of one's own that takes the task.
        task: registry id or one's own words.

    Raises:
        RoboError: where there is no such policy.
    """
    kind, _, argument = spec.partition(":")
    if Path(spec).exists():
        return TrainedPolicy(Path(spec))
    if kind == "expert":
        try:
            noise = float(argument or 0.0)
        except ValueError:
            raise RobotError(
                f"policy {spec!r} must be expert or expert:NOISE, NOISE a number"
            ) from None
        return ScriptedPolicy(task, noise)
    if kind == "script" and argument:
        return ScriptedPolicy(task, 0.3, argument)
    if argument:
        return load_object(spec, "policy")(task)
    raise RobotError(
        f"there is no policy {spec!r}: expected a run folder of `robo train`, a policy folder, "
        "expert, expert:NOISE, script:NAME, or module:NAME of your own"
    )


def load_object(spec: str, what: str) -> Any:
    """The object ``module:NAME``, for drivers and policies of one's own.

    Raises:
        RobotError: where it cannot be imported.
    """
    module, _, name = spec.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RobotError(
            f"the {what} {spec!r} cannot be imported ({error}): give module:NAME of a module on "
            "the Python path"
        ) from error
