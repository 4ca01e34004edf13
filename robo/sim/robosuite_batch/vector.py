"""``robosuite-batch/Lift`` under the vector contract."""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np

from robo.errors import RoboError
from robo.rollout import CameraSchedule
from robo.sim.gl import import_mujoco
from robo.sim.mujoco.batch_vector import BatchVectorEnvironment, check_settings
from robo.sim.mujoco.rendering import Profile
from robo.sim.robosuite.rendering import SceneRenderer
from robo.sim.robosuite_batch.provider import ID
from robo.sim.robosuite_batch.rules import HORIZON, LiftRules
from robo.sim.robosuite_batch.scene import LiftScene, load_scene
from robo.sim.robosuite_batch.simulation import (
    CONTROLLERS,
    EXTRAS,
    ROBOSUITE_STATE,
    SIGNALS,
    Simulations,
)

ControllerName = Literal["OSC_POSE", "OSC_POSITION"]


class StillRenderer:
    """Draws positions of the scene, on a model and data of its own."""

    def __init__(self, scene: LiftScene, profile: Profile) -> None:
        """The GL context opens with the first image."""
        self._mujoco: Any = import_mujoco()
        self._model = copy.copy(scene.model)  # the fast profile thins its meshes
        self._data = self._mujoco.MjData(self._model)
        self._renderer = SceneRenderer(self._model, self._data, scene.cameras, profile)

    def frames(
        self, qpos: np.ndarray, views: tuple[str, ...], height: int, width: int
    ) -> dict[str, np.ndarray]:
        """Role to uint8 ``[H, W, 3]``, upright, with the joints at ``qpos``."""
        mujoco, model, data = self._mujoco, self._model, self._data
        data.qpos[:] = qpos
        for update in (mujoco.mj_kinematics, mujoco.mj_comPos, mujoco.mj_camlight):
            update(model, data)
        return self._renderer.frames(views, height, width)

    def close(self) -> None:
        """Free the GL context."""
        self._renderer.close()


class RobosuiteBatchEnvironment(BatchVectorEnvironment):
    """robosuite's Lift for N environments; see :class:`~robo.sim.contract.VectorEnvironment`.

    Actions are robosuite's: ``[N, 7]`` in [-1, 1] (clipped): translation (times 5 cm), rotation
    as an axis angle (times 0.5 rad) of the goal relative to the hand, and the gripper (its sign:
    -1 opens, 1 closes), at 20 Hz. With ``controller="OSC_POSITION"`` they are ``[N, 4]``: the
    rotation is left out, and the hand is held pointing down.

    ``state`` begins with the 42 numbers of ``robosuite/Lift`` (cosines, sines and velocities of
    the arm's joints, position and quaternion xyzw of the hand, fingers and their velocities,
    position and quaternion of the cube, hand minus cube). With ``extras`` follow ``[time 1,
    close-up 3, commanded fingers 1]``: the fraction of the limit that has passed (so that the
    finite horizon is part of the state), the offset from hand to cube with its last centimetres
    spread out, and the finger command as a share of fully open.

    The same seed begins the same episode as in ``robosuite/Lift``.
    """

    signal_names = SIGNALS
    simulations: Simulations  # type: ignore[assignment]

    def __init__(
        self,
        num_envs: int,
        threads: int = 0,
        profile: Profile = "fast",
        horizon: int = HORIZON,
        extras: bool = True,
        controller: ControllerName = "OSC_POSE",
    ) -> None:
        """Open ``num_envs`` simulations; 0 threads uses every core.

        Args:
            num_envs: N.
            threads: of physics and controller.
            profile: how frames are drawn.
            horizon: time limit in control steps (``robosuite/Lift`` has 500).
            extras: False leaves the state vector as it is in ``robosuite/Lift``, so that
                policies carry over.
            controller: robosuite's, by its name.

        Raises:
            RoboError: for less than one environment or step, an unknown profile or controller.
            MissingExtraError: robosuite is not installed.
        """
        check_settings(ID, num_envs, horizon, profile)
        if controller not in CONTROLLERS:
            raise RoboError(
                f"{ID} has no controller {controller!r}; expected one of {list(CONTROLLERS)}"
            )
        scene = load_scene()
        rules = LiftRules(scene, horizon)
        simulations = Simulations(rules, scene, num_envs, threads, extras, controller)
        sizes = (ROBOSUITE_STATE + EXTRAS * extras, CONTROLLERS[controller])
        super().__init__(ID, tuple(scene.cameras), rules, simulations, profile, sizes)
        self._still: StillRenderer | None = None

    def frames_of(
        self, env: int, views: tuple[str, ...], height: int, width: int
    ) -> dict[str, np.ndarray]:
        """Role to uint8 ``[H, W, 3]`` of environment ``env`` as it is."""
        if self._still is None:
            self._still = StillRenderer(self.simulations.lift, self.profile)
        return self._still.frames(self.simulations.drawn_positions(env), views, height, width)

    def close_extras(self, **kwargs: Any) -> None:
        """Free the GL context and the threads."""
        super().close_extras(**kwargs)
        self.simulations.close()

    def _draw(self, env: int, schedule: CameraSchedule) -> dict[str, np.ndarray]:
        return self.frames_of(env, schedule.views, schedule.height, schedule.width)

    def _close_renderer(self) -> None:
        if self._still is not None:
            self._still.close()
            self._still = None
