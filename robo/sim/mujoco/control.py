"""End-effector control: 4 actions to 9 servo targets, for all simulations at once.

Each control step (20 Hz) the commanded tool displacement becomes joint targets by one damped
least-squares step on the site Jacobian (Nakamura and Hanafusa 1986); the hand keeps pointing
down. Joint limits and speeds are those published for the Panda.
"""

from __future__ import annotations

import numpy as np

from robo.sim.mujoco.tasks import OPEN

LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
SPEED = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
"""Joint speed limits, rad/s."""

STEP = 0.025
"""Largest commanded tool displacement per axis and control step, m."""
FINGER_STEP = 0.012
"""Largest change of the commanded finger position per control step, m; noise on it averages out,
so that exploration does not shut the hand over the cube."""
LEAD = 0.035
"""The commanded tool point never runs more than this ahead of the real one, m."""
WORKSPACE_LOW = np.array([0.28, -0.30, 0.012])
WORKSPACE_HIGH = np.array([0.72, 0.30, 0.40])
DAMPING = 1e-3
PERIOD = 0.05
DOWN = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])


class EndEffectorControl:
    """Holds the commanded tool point of N simulations and turns actions into servo targets."""

    def __init__(self, num_envs: int, gripper: bool) -> None:
        """N simulations; ``gripper`` False keeps the fingers closed."""
        self.target = np.zeros((num_envs, 3))
        self.fingers = np.full(num_envs, OPEN if gripper else 0.0)
        self.gripper = gripper

    def reset(self, index: np.ndarray, tool: np.ndarray) -> None:
        """Start simulations ``index`` with the commanded point at ``tool`` ``[K, 3]``."""
        self.target[index] = tool
        self.fingers[index] = OPEN if self.gripper else 0.0

    def joint_targets(
        self,
        action: np.ndarray,
        joints: np.ndarray,
        tool: np.ndarray,
        rotation: np.ndarray,
        jacobian: np.ndarray,
    ) -> np.ndarray:
        """Servo targets.

        Args:
            action: ``[N, 4]`` in [-1, 1]: tool displacement x, y, z (times 2.5 cm), fingers
                (times 1.2 cm, positive opens).
            joints: ``[N, 7]`` arm joints, rad.
            tool: ``[N, 3]`` tool centre, m.
            rotation: ``[N, 3, 3]`` tool frame.
            jacobian: ``[N, 6, 7]`` translation over rotation.

        Returns:
            ``[N, 9]``: seven joint targets (rad), two finger targets (m).
        """
        wanted = self.target + STEP * action[:, :3]
        wanted = np.clip(wanted, tool - LEAD, tool + LEAD)
        self.target = np.clip(wanted, WORKSPACE_LOW, WORKSPACE_HIGH)
        # Half the sum of column cross products is the rotation vector for small errors.
        turn = 0.5 * np.cross(rotation, DOWN[None], axisa=1, axisb=1, axisc=1).sum(axis=2)
        error = np.concatenate([self.target - tool, turn], axis=1)
        gram = jacobian @ jacobian.transpose(0, 2, 1)
        gram[:, np.arange(6), np.arange(6)] += DAMPING
        change = np.einsum("nij,ni->nj", jacobian, np.linalg.solve(gram, error[..., None])[..., 0])
        limit = SPEED * PERIOD
        # One scale for all joints keeps the direction of the motion.
        change /= np.maximum(np.abs(change / limit).max(axis=1, keepdims=True), 1.0)
        output = np.empty((len(action), 9))
        output[:, :7] = np.clip(joints + change, LOWER, UPPER)
        if self.gripper:
            self.fingers = np.clip(self.fingers + FINGER_STEP * action[:, 3], 0.0, OPEN)
        output[:, 7:9] = self.fingers[:, None]
        return output
