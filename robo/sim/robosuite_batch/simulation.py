"""N simulations of Lift: start, advance, read and save them, on one thread per core."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from robo.errors import RoboError
from robo.sim.in_process import available_cores
from robo.sim.mujoco.simulation import close_up
from robo.sim.mujoco.tasks import Scene
from robo.sim.robosuite_batch.physics import ROWS, Block
from robo.sim.robosuite_batch.rules import LiftRules
from robo.sim.robosuite_batch.scene import LiftScene

SIGNALS = ("progress", "tool_cube_distance", "cube_height", "gripper_opening")
"""Names of :meth:`Simulations.signals`."""
ROBOSUITE_STATE = 42
"""Length of robosuite's own state vector."""
EXTRAS = 5
"""What ``state`` holds beside it."""
CONTROLLERS = {"OSC_POSE": 7, "OSC_POSITION": 4}
"""robosuite's name of a controller to the length of an action."""
DOWN = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0])
"""The hand's orientation that robosuite's ``OSC_POSITION`` holds, row by row."""


class Simulations:
    """N simulations in blocks, one block and thread per core; results do not depend on threads.

    Attributes:
        lift: the model and its numbers.
        controller: a key of ``CONTROLLERS``.
        elapsed: int64 ``[N]`` control steps since the episode's start.
    """

    def __init__(
        self,
        rules: LiftRules,
        scene: LiftScene,
        num_envs: int,
        threads: int,
        extras: bool,
        controller: str = "OSC_POSE",
    ) -> None:
        """Open them; 0 threads uses every core. ``extras``, ``controller``: see the environment."""
        self.rules, self.lift, self.controller = rules, scene, controller
        self.num_envs, self.extras = num_envs, extras
        self.elapsed = np.zeros(num_envs, np.int64)
        self._rows = {name: np.zeros((num_envs, width)) for name, width in ROWS}
        count = min(threads or available_cores(), num_envs)
        edges = np.linspace(0, num_envs, count + 1).astype(int).tolist()
        self._slices = [slice(*pair) for pair in pairwise(edges)]
        self._blocks = [
            Block(scene, {name: array[part] for name, array in self._rows.items()})
            for part in self._slices
        ]
        self._pool = ThreadPoolExecutor(count - 1) if count > 1 else None

    def start(self, index: np.ndarray, seeds: list[int]) -> None:
        """Begin an episode in the simulations ``index`` (int ``[K]``, ascending), a seed each."""
        index = np.asarray(index)
        drawn = [self.lift.placement.draw(int(seed)) for seed in seeds]
        for part, block in zip(self._slices, self._blocks, strict=True):
            mine = np.flatnonzero((index >= part.start) & (index < part.stop))
            if len(mine):
                joints = np.stack([drawn[i][0] for i in mine])
                cubes = np.stack([drawn[i][1] for i in mine])
                block.start(index[mine] - part.start, joints, cubes)
        self.elapsed[index] = 0

    def advance(self, actions: np.ndarray) -> None:
        """One control step of all simulations; ``actions`` float64 ``[N, A]`` in [-1, 1]."""
        if self.controller == "OSC_POSITION":
            turn = np.zeros((self.num_envs, 3))
            actions = np.concatenate([actions[:, :3], turn, actions[:, 3:]], axis=1)
            self._rows["goal_rotation"][:] = DOWN
        self._each(lambda block, part: block.advance(actions[part]))
        self.elapsed += 1

    def _each(self, work: Callable[[Block, slice], None]) -> None:
        """Do ``work`` for every block at once; the first on this thread."""
        first, *rest = list(zip(self._blocks, self._slices, strict=True))
        waiting = [self._pool.submit(work, *one) for one in rest] if self._pool else []
        try:
            work(*first)
        finally:
            for future in waiting:
                future.result()

    def _joined(self, name: str) -> np.ndarray:
        return np.concatenate([getattr(block, name) for block in self._blocks])

    # --- what the simulations show ----------------------------------------------------------

    def scene(self) -> Scene:
        """What the rules read, of all simulations."""
        fingers = self._joined("qpos")[:, 7:9]
        opening = 0.5 * (fingers[:, 0] - fingers[:, 1])
        return Scene(self._rows["tool"], opening, self._rows["cube"], np.zeros((self.num_envs, 3)))

    def signals(self, scene: Scene) -> dict[str, np.ndarray]:
        """float32 ``[N]`` per name in ``SIGNALS``: progress in [0, 1], lengths in m.

        The cube's height is its centre's above the table; the opening is a finger's way from
        closed, 0 ... 0.04.
        """
        distance = np.linalg.norm(scene.tool - scene.cube, axis=1)
        return {
            "progress": self.rules.progress(scene).astype(np.float32),
            "tool_cube_distance": distance.astype(np.float32),
            "cube_height": (scene.cube[:, 2] - self.lift.table).astype(np.float32),
            "gripper_opening": scene.opening.astype(np.float32),
        }

    def observe(self, index: Any = slice(None)) -> np.ndarray:
        """The ``state`` observation of simulations ``index``, float32 ``[K, S]``, fresh."""
        rows = self._rows
        qpos, qvel = self._joined("qpos")[index], self._joined("qvel")[index]
        tool, cube = rows["tool"][index], rows["cube"][index]
        parts = [np.cos(qpos[:, :7]), np.sin(qpos[:, :7]), qvel[:, :7], tool]
        parts += [_xyzw(rows["hand"][index]), qpos[:, 7:9], qvel[:, 7:9]]
        parts += [cube, _xyzw(rows["spin"][index]), tool - cube]
        if self.extras:
            parts += [
                self.elapsed[index, None] / self.rules.horizon,
                close_up(cube - tool),
                0.5 * (1.0 + rows["fingers"][index, :1]),
            ]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def drawn_positions(self, env: int) -> np.ndarray:
        """``qpos`` ``[16]`` that the cameras of simulation ``env`` show."""
        return self._rows["drawn"][env].copy()

    # --- exact state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """MuJoCo's integration states, the controller's goals, what was last seen, clocks."""
        physics = np.concatenate([block.state() for block in self._blocks])
        rows = {name: array.copy() for name, array in self._rows.items()}
        return {"physics": physics, "elapsed": self.elapsed.copy(), "rows": rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, bit for bit.

        Raises:
            RoboError: where it belongs to another number of simulations or another scene.
        """
        physics = np.asarray(state["physics"])
        expected = (self.num_envs, self._blocks[0].batch.nstate)
        if physics.shape != expected:
            raise RoboError(
                f"robosuite-batch/Lift: the saved state has shape {physics.shape}, expected "
                f"{expected}; restore it with the same task and number of environments"
            )
        for name, array in self._rows.items():
            array[...] = np.asarray(state["rows"][name])
        self.elapsed[:] = np.asarray(state["elapsed"])
        for part, block in zip(self._slices, self._blocks, strict=True):
            block.load(physics[part])

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _xyzw(quaternion: np.ndarray) -> np.ndarray:
    return quaternion[:, [1, 2, 3, 0]]
