"""N simulations of one task: start, advance, read and save them, in MuJoCo's native threads.

No Python runs per simulation and step: every quantity is an array over simulations.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np

from robo.errors import RoboError
from robo.sim.gl import import_mujoco
from robo.sim.mujoco.control import EndEffectorControl
from robo.sim.mujoco.tasks import HOME, OPEN, Scene, Task

RATE = 20.0
"""Control steps per second."""
SUBSTEPS = 10
"""Physics steps (5 ms) per control step."""
SIGNALS = ("progress", "tool_cube_distance", "cube_height", "gripper_opening")
"""Names of :meth:`Simulations.signals`."""
CLOSE = 0.03
"""Distance at which :func:`close_up` reaches one half, m."""
CLOCKS = ("tool", "rotation", "tool_previous", "elapsed")
"""What a saved state holds beside MuJoCo's own and the commanded target."""


def load_model(task: Task) -> Any:
    """Compile the task's scene (``mujoco.MjModel``).

    Raises:
        RenderingError: where ``MUJOCO_GL`` names a backend that cannot be imported.
    """
    mujoco = import_mujoco()
    folder = resources.files("robo.sim.mujoco") / "assets"
    with resources.as_file(folder) as path:
        return mujoco.MjModel.from_xml_path(str(path / task.model_file))


def close_up(offset: np.ndarray) -> np.ndarray:
    """``[K, 3]`` offsets (m) to [-1, 1]: the last centimetres spread out, the far ones pressed.

    A grasp is decided within 2 cm of a workspace of 60: at one scale a small network can hardly
    see them.
    """
    return offset / (CLOSE + np.linalg.norm(offset, axis=1, keepdims=True))


def state_size(task: Task) -> int:
    """Length of the ``state`` observation."""
    return 7 + 3 + 3 + 1 + 1 + 11 * task.has_cube + 6 * task.has_goal + 3 + 1


class Simulations:
    """N simulations of ``task`` in one native batch; rows of all arrays are simulations.

    Attributes:
        model: the compiled ``mujoco.MjModel``.
        tool: ``[N, 3]`` tool centre point, m.
        elapsed: int64 ``[N]`` control steps since the episode's start.
    """

    def __init__(self, task: Task, num_envs: int, threads: int = 0) -> None:
        """Open ``num_envs`` simulations; 0 threads uses every core."""
        self.task, self.num_envs = task, num_envs
        self.model = load_model(task)
        import mujoco
        from mujoco.batch import Batch

        self._batch = Batch(self.model, nsim=num_envs, nthread=threads)
        bind = self._batch.bind
        self._qpos, self._qvel, self._ctrl = bind("qpos"), bind("qvel"), bind("ctrl")
        self._mocap = bind("mocap_pos") if task.has_goal else None
        self._site_xpos, self._site_xmat = bind("site_xpos"), bind("site_xmat")
        self._tool_site = self.model.site("tcp").id
        self._hand = self.model.body("hand").id
        self._stage = mujoco.mjtStage.mjSTAGE_POS.value
        self._control = EndEffectorControl(num_envs, task.gripper)
        self.tool = np.zeros((num_envs, 3))
        self.rotation = np.zeros((num_envs, 3, 3))
        self.tool_previous = np.zeros((num_envs, 3))
        self.elapsed = np.zeros(num_envs, np.int64)

    def start(self, index: np.ndarray, seeds: list[int]) -> None:
        """Begin an episode in the simulations ``index`` (int ``[K]``), one seed each."""
        import mujoco

        self._batch.reset(ids=index, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        opening = OPEN if self.task.gripper else 0.0
        for i, seed in zip(index, seeds, strict=True):
            sample = self.task.sample(np.random.default_rng(int(seed)))
            self._qpos[i, :7] = self._ctrl[i, :7] = HOME
            self._qpos[i, 7:9] = self._ctrl[i, 7:9] = opening
            if self.task.has_cube:
                half = float(sample["yaw"]) / 2
                self._qpos[i, 9:12] = sample["cube"]
                self._qpos[i, 12:16] = (np.cos(half), 0.0, 0.0, np.sin(half))
            if self._mocap is not None:
                self._mocap[i, 0] = sample["goal"]
        self._batch.forward(ids=index)
        self._read_tool(np.asarray(index))
        self.tool_previous[index] = self.tool[index]
        self._control.reset(index, self.tool[index])
        self.elapsed[index] = 0

    def advance(self, actions: np.ndarray) -> None:
        """One control step of all simulations; ``actions`` ``[N, 4]`` in [-1, 1]."""
        translation, rotation = self._batch.jac(self._hand, self.tool)
        jacobian = np.concatenate([translation[:, :, :7], rotation[:, :, :7]], axis=1)
        self._ctrl[:] = self._control.joint_targets(
            actions, self._qpos[:, :7], self.tool, self.rotation, jacobian
        )
        self.tool_previous[:] = self.tool
        self._batch.step(nstep=SUBSTEPS, stage=self._stage)
        self._read_tool(slice(None))
        self.elapsed += 1

    def _read_tool(self, index: Any) -> None:
        self.tool[index] = self._site_xpos[index, self._tool_site]
        self.rotation[index] = self._site_xmat[index, self._tool_site].reshape(-1, 3, 3)

    # --- what the simulations show ----------------------------------------------------------

    def scene(self) -> Scene:
        """What the task's rules read, of all simulations now."""
        none = np.zeros((self.num_envs, 3))
        cube = self._qpos[:, 9:12] if self.task.has_cube else none
        goal = self._mocap[:, 0] if self._mocap is not None else none
        return Scene(self.tool, self._qpos[:, 7:9].mean(axis=1), cube, goal)

    def signals(self, scene: Scene) -> dict[str, np.ndarray]:
        """float32 ``[N]`` per name in ``SIGNALS``: progress in [0, 1], lengths in m."""
        distance = np.linalg.norm(scene.tool - scene.cube, axis=1)
        return {
            "progress": self.task.progress(scene).astype(np.float32),
            "tool_cube_distance": distance.astype(np.float32),
            "cube_height": scene.cube[:, 2].astype(np.float32),
            "gripper_opening": scene.opening.astype(np.float32),
        }

    def observe(self, index: Any = slice(None)) -> np.ndarray:
        """The ``state`` observation of simulations ``index``, float32 ``[K, S]``, fresh."""
        tool = self.tool[index]
        qpos = self._qpos[index]
        parts = [
            qpos[:, :7],
            tool,
            (tool - self.tool_previous[index]) * RATE,
            qpos[:, 7:9].mean(axis=1, keepdims=True),
            self.elapsed[index, None] / self.task.horizon,
        ]
        if self.task.has_cube:
            cube, spin = qpos[:, 9:12], qpos[:, 12:16]
            parts += [cube, cube - tool, spin[:, [0, 3]], self._qvel[index, 9:12]]
        if self._mocap is not None:
            goal = self._mocap[index, 0]
            parts += [goal, goal - (qpos[:, 9:12] if self.task.has_cube else tool)]
        target = qpos[:, 9:12] if self.task.has_cube else self._mocap[index, 0]  # type: ignore[index]
        parts += [close_up(target - tool), self._control.fingers[index, None] / OPEN]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def drawn_state(self, env: int) -> tuple[np.ndarray, np.ndarray | None]:
        """What a renderer needs of simulation ``env``: qpos ``[nq]`` and mocap positions."""
        mocap = self._mocap[env].copy() if self._mocap is not None else None
        return self._qpos[env].copy(), mocap

    # --- exact state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """MuJoCo's integration state (``rows``), commanded targets, tool and clocks."""
        import mujoco

        spec = mujoco.mjtState.mjSTATE_INTEGRATION.value
        size = mujoco.mj_stateSize(self.model, spec)
        rows = np.empty((self.num_envs, size))
        for i in range(self.num_envs):
            mujoco.mj_getState(self.model, self._batch.get_data(i), rows[i], spec)
        return {
            "rows": rows,
            "target": self._control.target.copy(),
            "fingers": self._control.fingers.copy(),
            **{name: getattr(self, name).copy() for name in CLOCKS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, bit for bit.

        Raises:
            RoboError: where it belongs to another number of simulations or another scene.
        """
        import mujoco

        spec = mujoco.mjtState.mjSTATE_INTEGRATION.value
        rows = np.asarray(state["rows"])
        expected = (self.num_envs, mujoco.mj_stateSize(self.model, spec))
        if rows.shape != expected:
            raise RoboError(
                f"mujoco/{self.task.name}: the saved state has shape {rows.shape}, expected "
                f"{expected}; restore it with the same task and number of environments"
            )
        data = mujoco.MjData(self.model)
        names = ["time", "qpos", "qvel", "ctrl", "qacc_warmstart"]
        names += ["mocap_pos", "mocap_quat"] if self._mocap is not None else []
        fields = {name: self._batch.bind(name) for name in names}
        for i in range(self.num_envs):
            mujoco.mj_setState(self.model, data, rows[i], spec)
            for name, field in fields.items():
                field[i] = getattr(data, name)
        self._control.target = np.array(state["target"])
        self._control.fingers = np.array(state["fingers"])
        for name in CLOCKS:
            setattr(self, name, np.array(state[name]))
