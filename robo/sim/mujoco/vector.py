"""``mujoco/<Task>`` under the vector contract."""

from __future__ import annotations

import numpy as np

from robo.rollout import CameraSchedule
from robo.sim.mujoco.batch_vector import BatchVectorEnvironment, check_settings
from robo.sim.mujoco.rendering import Profile, ViewRenderer
from robo.sim.mujoco.simulation import SIGNALS, Simulations, state_size
from robo.sim.mujoco.tasks import TASKS

CAMERAS = ("front", "side", "wrist")
ACTION_SIZE = 4


class MujocoVectorEnvironment(BatchVectorEnvironment):
    """``mujoco/<Task>`` for N environments; see :class:`~robo.sim.contract.VectorEnvironment`.

    Actions are ``[N, 4]`` in [-1, 1] (clipped): tool displacement in x, y, z (times 2.5 cm per
    50 ms) and fingers (times 1.2 cm, positive opens; unused in Reach and Push).

    ``state`` is ``[joints 7, tool 3, tool velocity 3, finger opening 1, time 1]``, where time is
    the fraction of the limit that has passed (so that the finite horizon is part of the state);
    then, in tasks with a cube, ``[cube 3, cube - tool 3, quaternion w and z 2, velocity 3]``; then,
    in tasks with a goal, ``[goal 3, goal - cube (Reach: goal - tool) 3]``; last, ``[close-up 3,
    commanded fingers 1]``: the offset from tool to cube (Reach: goal) with its last centimetres
    spread out, and the finger command as a share of fully open. Radians, metres, m/s.
    """

    cameras = CAMERAS
    signal_names = SIGNALS
    simulations: Simulations  # type: ignore[assignment]

    def __init__(
        self, task: str, num_envs: int, threads: int = 0, profile: Profile = "fast"
    ) -> None:
        """Open ``num_envs`` simulations of ``task`` ("Lift"); 0 threads uses every core.

        Raises:
            RoboError: for less than one environment, or an unknown profile.
        """
        rules, id = TASKS[task](), f"mujoco/{task}"
        check_settings(id, num_envs, rules.horizon, profile)
        simulations = Simulations(rules, num_envs, threads)
        sizes = (state_size(rules), ACTION_SIZE)
        super().__init__(id, CAMERAS, rules, simulations, profile, sizes)
        self._renderer: ViewRenderer | None = None

    def _draw(self, env: int, schedule: CameraSchedule) -> dict[str, np.ndarray]:
        if self._renderer is None:
            self._renderer = ViewRenderer(
                self.simulations.model,
                schedule.views,
                schedule.height,
                schedule.width,
                self.profile,
            )
        images = self._renderer.render(*self.simulations.drawn_state(env))
        return dict(zip(schedule.views, images, strict=True))

    def _close_renderer(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
