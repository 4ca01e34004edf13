"""Scripted experts of all simulators, by task id."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from robo.errors import RoboError
from robo.sim.mujoco.expert import CLEAN, ExpertStyle

CATALOGUES = {
    "mujoco": "robo.sim.mujoco.expert",
    "robosuite": "robo.sim.robosuite.experts.catalogue",
    "libero": "robo.sim.libero.experts.catalogue",
    "robosuite-batch": "robo.sim.robosuite_batch.expert",
}
"""Prefix of ids to the module whose ``make_expert`` makes its actors."""


class Expert(Protocol):
    """A scripted actor for N environments, as a recorder asks for it."""

    def reset(self, num_envs: int) -> None:
        """Prepare for ``num_envs`` environments."""

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Actions float32 ``[N, A]``; ``started`` bool ``[N]`` marks first steps of episodes."""
        ...

    def keyframes(self, env: int) -> dict[str, int]:
        """Name of a subtask's end to state index, of environment ``env``'s current episode."""
        ...

    def metadata(self, env: int) -> dict[str, Any]:
        """What acted: JSON values."""
        ...


def make_expert(
    task: str,
    style: ExpertStyle = CLEAN,
    seed: int = 0,
    script: str = "expert",
    options: Mapping[str, Any] | None = None,
) -> Expert:
    """The scripted actor of a task.

    Args:
        task: registry id.
        style: how clean its motion is.
        seed: of its noise.
        script: "expert", or a scripted failure where the task has any.
        options: what its environment is made with: an expert reads its state vector, and gives the
            actions of its controller.

    Raises:
        RoboError: a task without an expert, an unknown script, or options with which the expert
            cannot act.
    """
    prefix = task.partition("/")[0]
    if prefix not in CATALOGUES:
        raise RoboError(
            f"task {task!r} has no scripted expert; some tasks of {list(CATALOGUES)} have one"
        )
    catalogue = importlib.import_module(CATALOGUES[prefix])
    return catalogue.make_expert(task, style, seed, script, options or {})
