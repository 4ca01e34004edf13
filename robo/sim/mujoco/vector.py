"""N simulations of one task stepped by MuJoCo's native threads, with no Python per simulation."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gymnasium
import numpy as np

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.contract import FrameRows, VectorEnvironment
from robo.sim.mujoco.control import EndEffectorControl
from robo.sim.mujoco.rendering import Profile, ViewRenderer, choose_backend
from robo.sim.mujoco.tasks import HOME, OPEN, TASKS, Scene, Task

SUBSTEPS = 10
"""Physics steps (5 ms) per control step (20 Hz)."""
CAMERAS = ("front", "side", "wrist")
SIGNALS = ("progress", "tool_cube_distance", "cube_height", "gripper_opening")


def load_model(task: Task):
    """Compile the task's scene (``mujoco.MjModel``)."""
    choose_backend()
    import mujoco

    folder = resources.files("robo.sim.mujoco") / "assets"
    with resources.as_file(folder) as path:
        return mujoco.MjModel.from_xml_path(str(path / task.model_file))


def state_size(task: Task) -> int:
    """Length of the ``state`` observation."""
    return 7 + 3 + 3 + 1 + 1 + (3 + 3 + 2 + 3 if task.has_cube else 0) + (3 + 3) * task.has_goal


class MujocoVectorEnvironment(VectorEnvironment):
    """``mujoco/<Task>`` for N environments; see :class:`~robo.sim.contract.VectorEnvironment`.

    Actions are ``[N, 4]`` in [-1, 1]: tool displacement in x, y, z (times 2.5 cm per 50 ms) and
    fingers (times 1.2 cm, positive opens). ``state`` holds joints, tool, its velocity, fingers, the fraction of
    the time limit that has passed (so that the finite horizon is part of the state), and the
    cube and goal where the task has them.
    """

    backend = "native"
    cameras = CAMERAS
    signal_names = SIGNALS

    def __init__(
        self, task: str, num_envs: int, threads: int = 0, profile: Profile = "fast"
    ) -> None:
        """Open ``num_envs`` simulations of ``task`` ("Lift"); 0 threads uses every core."""
        self.task_rules = TASKS[task]()
        self.task = f"mujoco/{task}"
        self.instruction = self.task_rules.instruction
        self.num_envs = num_envs
        self.profile: Profile = profile
        self.max_episode_steps = self.task_rules.horizon
        self.model = load_model(self.task_rules)
        import mujoco
        from mujoco.batch import Batch

        self._batch = Batch(self.model, nsim=num_envs, nthread=threads)
        bind = self._batch.bind
        self._qpos, self._qvel, self._ctrl = bind("qpos"), bind("qvel"), bind("ctrl")
        self._mocap = bind("mocap_pos") if self.task_rules.has_goal else None
        self._site_xpos, self._site_xmat = bind("site_xpos"), bind("site_xmat")
        self._tool_site = self.model.site("tcp").id
        self._hand = self.model.body("hand").id
        self._stage = mujoco.mjtStage.mjSTAGE_POS.value
        self._control = EndEffectorControl(num_envs, self.task_rules.gripper)
        self._tool = np.zeros((num_envs, 3))
        self._rotation = np.zeros((num_envs, 3, 3))
        self._tool_previous = np.zeros((num_envs, 3))
        self._elapsed = np.zeros(num_envs, np.int64)
        self._generators = [np.random.default_rng(i) for i in range(num_envs)]
        self._episode_seed = np.zeros(num_envs, np.int64)
        self._schedule: CameraSchedule | None = None
        self._renderer: ViewRenderer | None = None
        self._ready = False
        size = state_size(self.task_rules)
        state = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.single_observation_space = gymnasium.spaces.Dict({"state": state})
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.observation_space = gymnasium.vector.utils.batch_space(
            self.single_observation_space, num_envs
        )
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)

    # --- contract -------------------------------------------------------------------------

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """Render ``schedule`` from the next reset on; opens (or reopens) the GL context."""
        if schedule is not None:
            unknown = [view for view in schedule.views if view not in CAMERAS]
            if unknown:
                raise RoboError(
                    f"camera {unknown[0]!r} does not exist in {self.task}; it has {list(CAMERAS)}"
                )
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._schedule = schedule

    def episode_info(self, env: int) -> EpisodeInfo:
        """Task, instruction and the seed that reproduces the episode by ``reset(seed=...)``."""
        return EpisodeInfo(self.task, self.instruction, None, None, int(self._episode_seed[env]))

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Reset all; environment i gets ``seed + i`` or ``seed[i]``."""
        if seed is None:
            seeds = [self._next_seed(i) for i in range(self.num_envs)]
        else:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
            if len(seeds) != self.num_envs:
                raise RoboError(f"reset got {len(seeds)} seeds for {self.num_envs} environments")
            self._generators = [np.random.default_rng((int(s), 1)) for s in seeds]
        everyone = np.arange(self.num_envs)
        self._reset_some(everyone, seeds)
        self._ready = True
        infos: dict[str, Any] = {}
        if self._schedule is not None:
            infos["frames"] = self._render(everyone, np.zeros(self.num_envs, bool))
        return self.current_observation(), infos

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One control step of all simulations (10 physics steps in native threads)."""
        observation, reward, success, truncated, infos = self._physics_step(actions)
        ended = np.flatnonzero(success | truncated)
        due = self._due(ended)
        final_rows = self._render(ended, np.ones(len(ended), bool)) if due is not None else None
        if len(ended):
            self._add_final(infos, observation, ended)
            self._reset_some(ended, [self._next_seed(i) for i in ended])
            observation["state"][ended] = self._observe(ended)
        if due is not None and (len(due) or len(ended)):
            current = self._render(due, np.zeros(len(due), bool))
            infos["frames"] = _joined(final_rows, current)
        return observation, reward, success, truncated, infos

    def step_without_reset(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """As :meth:`step`, for callers that reset by themselves (the single environment)."""
        observation, reward, success, truncated, infos = self._physics_step(actions)
        ended = np.flatnonzero(success | truncated)
        due = self._due(ended)
        if due is not None and len(due):
            infos["frames"] = self._render(due, (success | truncated)[due])
        return observation, reward, success, truncated, infos

    def drawn_state(self, env: int) -> tuple[np.ndarray, np.ndarray | None]:
        """What a renderer needs of environment ``env``: qpos ``[nq]`` and mocap positions."""
        mocap = self._mocap[env].copy() if self._mocap is not None else None
        return self._qpos[env].copy(), mocap

    def state_dict(self) -> dict[str, Any]:
        """Integration state rows, targets, clocks and generators; restores bit for bit."""
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
            "tool": self._tool.copy(),
            "rotation": self._rotation.copy(),
            "tool_previous": self._tool_previous.copy(),
            "elapsed": self._elapsed.copy(),
            "episode_seed": self._episode_seed.copy(),
            "generators": [generator.bit_generator.state for generator in self._generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        import mujoco

        spec = mujoco.mjtState.mjSTATE_INTEGRATION.value
        rows = np.asarray(state["rows"])
        if len(rows) != self.num_envs:
            raise RoboError(f"state of {len(rows)} environments loaded into {self.num_envs}")
        data = mujoco.MjData(self.model)
        fields = {n: self._batch.bind(n) for n in ("time", "qpos", "qvel", "ctrl")}
        fields["qacc_warmstart"] = self._batch.bind("qacc_warmstart")
        if self._mocap is not None:
            fields |= {n: self._batch.bind(n) for n in ("mocap_pos", "mocap_quat")}
        for i in range(self.num_envs):
            mujoco.mj_setState(self.model, data, rows[i], spec)
            for name, field in fields.items():
                field[i] = getattr(data, name)
        self._control.target = np.array(state["target"])
        self._control.fingers = np.array(state["fingers"])
        self._tool = np.array(state["tool"])
        self._rotation = np.array(state["rotation"])
        self._tool_previous = np.array(state["tool_previous"])
        self._elapsed = np.array(state["elapsed"])
        self._episode_seed = np.array(state["episode_seed"])
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = saved
        self._ready = True

    def current_observation(self) -> dict[str, np.ndarray]:
        """``state`` float32 ``[N, S]``, a fresh array."""
        return {"state": self._observe(slice(None))}

    def close_extras(self, **kwargs: Any) -> None:
        """Free the GL context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    # --- inside ---------------------------------------------------------------------------

    def _checked(self, actions: np.ndarray) -> np.ndarray:
        actions = np.asarray(actions, np.float64)
        if not self._ready:
            raise RoboError(f"{self.task}: reset() must be called before step()")
        if actions.shape != (self.num_envs, 4):
            raise RoboError(
                f"{self.task}: actions have shape {actions.shape}, expected {(self.num_envs, 4)}"
            )
        if not np.isfinite(actions).all():
            env = int(np.argwhere(~np.isfinite(actions))[0][0])
            raise RoboError(
                f"{self.task}: the action of environment {env} is {actions[env].tolist()}, "
                "expected finite numbers; check the policy (a diverged network returns NaN)"
            )
        return np.clip(actions, -1.0, 1.0)

    def _physics_step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self._advance(self._checked(actions))
        self._elapsed += 1
        scene = self._scene()
        success = self.task_rules.success(scene)
        truncated = (self._elapsed >= self.task_rules.horizon) & ~success
        infos: dict[str, Any] = {"success": success, "signals": self._signals(scene)}
        return self.current_observation(), success.astype(np.float32), success, truncated, infos

    def _advance(self, actions: np.ndarray) -> None:
        translation, rotation = self._batch.jac(self._hand, self._tool)
        jacobian = np.concatenate([translation[:, :, :7], rotation[:, :, :7]], axis=1)
        self._ctrl[:] = self._control.joint_targets(
            actions, self._qpos[:, :7], self._tool, self._rotation, jacobian
        )
        self._tool_previous[:] = self._tool
        self._batch.step(nstep=SUBSTEPS, stage=self._stage)
        self._read_tool(slice(None))

    def _read_tool(self, index: Any) -> None:
        self._tool[index] = self._site_xpos[index, self._tool_site]
        self._rotation[index] = self._site_xmat[index, self._tool_site].reshape(-1, 3, 3)

    def _next_seed(self, env: int) -> int:
        return int(self._generators[env].integers(2**31))

    def _reset_some(self, index: np.ndarray, seeds: list[int]) -> None:
        import mujoco

        self._batch.reset(ids=index, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        opening = OPEN if self.task_rules.gripper else 0.0
        for i, seed in zip(index, seeds, strict=True):
            sample = self.task_rules.sample(np.random.default_rng(int(seed)))
            self._qpos[i, :7] = self._ctrl[i, :7] = HOME
            self._qpos[i, 7:9] = self._ctrl[i, 7:9] = opening
            if self.task_rules.has_cube:
                half = float(sample["yaw"]) / 2
                self._qpos[i, 9:12] = sample["cube"]
                self._qpos[i, 12:16] = (np.cos(half), 0.0, 0.0, np.sin(half))
            if self._mocap is not None:
                self._mocap[i, 0] = sample["goal"]
            self._episode_seed[i] = seed
        self._batch.forward(ids=index)
        self._read_tool(np.asarray(index))
        self._tool_previous[index] = self._tool[index]
        self._control.reset(index, self._tool[index])
        self._elapsed[index] = 0

    def _scene(self) -> Scene:
        none = np.zeros((self.num_envs, 3))
        cube = self._qpos[:, 9:12] if self.task_rules.has_cube else none
        goal = self._mocap[:, 0] if self._mocap is not None else none
        return Scene(self._tool, self._qpos[:, 7:9].mean(axis=1), cube, goal)

    def _signals(self, scene: Scene) -> dict[str, np.ndarray]:
        distance = np.linalg.norm(scene.tool - scene.cube, axis=1)
        return {
            "progress": self.task_rules.progress(scene).astype(np.float32),
            "tool_cube_distance": distance.astype(np.float32),
            "cube_height": scene.cube[:, 2].astype(np.float32),
            "gripper_opening": scene.opening.astype(np.float32),
        }

    def _observe(self, index: Any) -> np.ndarray:
        tool = self._tool[index]
        qpos = self._qpos[index]
        parts = [
            qpos[:, :7],
            tool,
            (tool - self._tool_previous[index]) * 20.0,
            qpos[:, 7:9].mean(axis=1, keepdims=True),
            self._elapsed[index, None] / self.task_rules.horizon,
        ]
        if self.task_rules.has_cube:
            cube, spin = qpos[:, 9:12], qpos[:, 12:16]
            parts += [cube, cube - tool, spin[:, [0, 3]], self._qvel[index, 9:12]]
        if self._mocap is not None:
            goal = self._mocap[index, 0]
            parts += [goal, goal - (cube if self.task_rules.has_cube else tool)]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _add_final(
        self, infos: dict[str, Any], observation: dict[str, np.ndarray], ended: np.ndarray
    ) -> None:
        mask = np.zeros(self.num_envs, bool)
        mask[ended] = True
        final = np.full(self.num_envs, None, object)
        for i in ended:
            final[i] = {"state": observation["state"][i].copy()}
        infos["final_obs"], infos["_final_obs"] = final, mask
        infos["final_info"] = {
            "success": np.where(mask, infos["success"], False),
            "_success": mask,
        }
        infos["_final_info"] = mask

    def _due(self, ended: np.ndarray) -> np.ndarray | None:
        """Environments whose current state (after autoreset) needs a frame; None without any."""
        if self._schedule is None:
            return None
        due = self._elapsed % self._schedule.stride == 0
        due[ended] = True
        return np.flatnonzero(due)

    def _render(self, index: np.ndarray, final: np.ndarray) -> FrameRows:
        schedule = self._schedule
        assert schedule is not None
        if self._renderer is None:
            self._renderer = ViewRenderer(
                self.model, schedule.views, schedule.height, schedule.width, self.profile
            )
        shape = (len(index), schedule.height, schedule.width, 3)
        views = {view: np.empty(shape, np.uint8) for view in schedule.views}
        for row, env in enumerate(index):
            mocap = self._mocap[env] if self._mocap is not None else None
            images = self._renderer.render(self._qpos[env], mocap)
            for view, image in zip(schedule.views, images, strict=True):
                views[view][row] = image
        return FrameRows(views, np.asarray(index, np.int64), final)


def _joined(final: FrameRows | None, current: FrameRows) -> FrameRows:
    if final is None or not len(final.env):
        return current
    return FrameRows(
        {name: np.concatenate([final.views[name], current.views[name]]) for name in final.views},
        np.concatenate([final.env, current.env]),
        np.concatenate([final.final, current.final]),
    )
