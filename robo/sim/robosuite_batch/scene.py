"""The scene of ``robosuite/Lift`` with a Panda, as robosuite itself makes it, and its numbers.

robosuite builds the model once; only MuJoCo is left in the loop. Where things start is drawn as
robosuite draws it: equal seeds are equal initial states here and in ``robosuite/Lift``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo.errors import RoboError
from robo.sim.gl import import_mujoco
from robo.sim.native_gym.physics import batch_available
from robo.sim.robosuite.cameras import Camera

TASK = "robosuite/Lift"
MEMORY = 16 * 2**20
"""Bytes of MuJoCo's arena per simulation; robosuite's scenes ask for 1.2 GB, of which Lift's
contacts take less than 1 MB. It has no influence on the physics."""


@dataclass(frozen=True)
class Gripper:
    """How robosuite moves the fingers."""

    initial: np.ndarray
    """``[2]`` finger joints at a reset, m."""
    speed: float
    """Change of the command, in [-1, 1], per physics step."""
    middle: np.ndarray
    """``[2]`` centre of the actuators' range, m."""
    half: np.ndarray
    """``[2]`` half of it, m."""


@dataclass(frozen=True)
class Controller:
    """Numbers of robosuite's ``OSC_POSE``."""

    scale: np.ndarray
    """``[6]`` metres and rad per unit of action."""
    gains: np.ndarray
    """``[4]`` stiffness and damping of the hand, then of the null space."""
    limits: np.ndarray
    """``[7]`` largest torques, Nm."""


@dataclass(frozen=True)
class Placement:
    """Where an episode starts."""

    joints: np.ndarray
    """``[7]`` mean of the arm's joints, rad."""
    noise: float
    """Standard deviation about it, rad."""
    x: tuple[float, float]
    """Range of the cube's x, m."""
    y: tuple[float, float]
    """Range of the cube's y, m."""
    centre: np.ndarray
    """``[3]`` what the ranges are relative to, with the cube resting 1 cm above the table, m."""

    def draw(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Arm joints ``[7]``, and the cube's position and quaternion (wxyz) ``[7]``.

        In the order in which robosuite's reset draws, from the generator that it seeds; ``seed``
        is what ``robosuite/Lift`` is reset with.
        """
        episode = int(np.random.default_rng(seed).integers(2**31))
        draw = np.random.RandomState(episode)
        joints = self.joints + draw.randn(len(self.joints)) * self.noise
        x, y = draw.uniform(*self.x), draw.uniform(*self.y)
        yaw = draw.uniform(0.0, 2 * np.pi)
        cube = np.zeros(7)
        cube[:3] = x + self.centre[0], y + self.centre[1], self.centre[2]
        cube[3], cube[6] = np.cos(yaw / 2), np.sin(yaw / 2)
        return joints, cube


@dataclass(frozen=True)
class LiftScene:
    """The model, and what stepping it needs to know."""

    model: Any
    """``mujoco.MjModel``."""
    cameras: Mapping[str, Camera]
    """Role to camera."""
    substeps: int
    """Physics steps per control step (50 ms)."""
    controller: Controller
    """The arm's controller."""
    gripper: Gripper
    """The fingers."""
    placement: Placement
    """Initial states."""
    table: float
    """Height of the table's top, m."""
    half_cube: float
    """Half the cube's height, m."""
    site: int
    """Id of the site between the fingers."""
    hand: int
    """Id of the body whose orientation robosuite observes."""
    cube: int
    """Id of the cube's body."""


@functools.cache
def load_scene() -> LiftScene:
    """Have robosuite make the scene (seconds; once per process).

    Raises:
        MissingExtraError: robosuite is not installed.
        RoboError: versions that do not run together, or a MuJoCo without ``mujoco.batch``.
    """
    from robo.sim.robosuite.manipulation import ManipulationEnvironment
    from robo.sim.robosuite.options import RobosuiteOptions

    if not batch_available():
        raise RoboError(
            "robosuite-batch/Lift needs mujoco.batch, which MuJoCo has since 3.17; run "
            '`pip install -e ".[libero]"`'
        )
    single = ManipulationEnvironment(TASK, RobosuiteOptions())
    try:
        return _scene_of(single)
    finally:
        single.close()


def _scene_of(single: Any) -> LiftScene:
    raw, model = single.raw, _with_small_arena(single.raw)
    robot, arena, cube = raw.robots[0], raw.model.mujoco_arena, raw.cube
    sampler = raw.placement_initializer
    bounds = np.array(model.actuator_ctrlrange[7:9])
    centre = np.array(sampler.reference_pos, float)
    centre[2] = sampler.z_offset + centre[2] - cube.bottom_offset[-1]
    return LiftScene(
        model=model,
        cameras={role: single.renderer.cameras[role] for role in single.cameras},
        substeps=int(raw.control_timestep / raw.model_timestep),
        controller=_controller(robot),
        gripper=Gripper(
            initial=np.array(robot.gripper.init_qpos),
            speed=float(robot.gripper.speed),
            middle=0.5 * (bounds[:, 1] + bounds[:, 0]),
            half=0.5 * (bounds[:, 1] - bounds[:, 0]),
        ),
        placement=Placement(
            joints=np.array(robot.init_qpos),
            noise=float(robot.initialization_noise["magnitude"]),
            x=tuple(sampler.x_range),
            y=tuple(sampler.y_range),
            centre=centre,
        ),
        table=float(arena.table_offset[2]),
        half_cube=float(cube.size[2]),
        site=int(robot.eef_site_id),
        hand=model.body(robot.robot_model.eef_name).id,
        cube=model.body(cube.root_body).id,
    )


def _controller(robot: Any) -> Controller:
    own = robot.controller
    stiffness, damping, null = float(own.kp[0]), float(own.kd[0]), 10.0
    return Controller(
        scale=np.abs(own.output_max - own.output_min) / np.abs(own.input_max - own.input_min),
        gains=np.array([stiffness, damping, null, 2 * np.sqrt(null)]),
        limits=np.array(robot.torque_limits[1]),
    )


def _with_small_arena(raw: Any) -> Any:
    """The model of ``raw`` again, with memory for its contacts and no more."""
    mujoco = import_mujoco()
    spec = mujoco.MjSpec.from_string(raw.model.get_xml())
    spec.memory, spec.njmax, spec.nconmax = MEMORY, -1, -1
    model = spec.compile()
    model.site_rgba[:] = raw.sim.model._model.site_rgba  # robosuite hides its markers
    return model
