"""robosuite's operational-space controller for many simulations, compiled (numba).

Khatib (1987), "A unified approach for motion and force control of robot manipulators: the
operational space formulation", with force and torque decoupled from each other and a task in the
null space that draws the arm to where the episode began, as robosuite 1.4's ``OSC_POSE`` does it.
Where robosuite inverts matrices by singular values, these solve by Cholesky factors: equal up to
rounding while the arm is not singular.

Shapes: n simulations, 7 joints; all arrays float64, angles in rad, torques in Nm.
"""

from __future__ import annotations

import math

import numba  # type: ignore[import-not-found]
import numpy as np

JOINTS = 7


@numba.njit(nogil=True, cache=True, error_model="numpy")
def set_goals(
    action: np.ndarray,
    scale: np.ndarray,
    position: np.ndarray,
    rotation: np.ndarray,
    goal: np.ndarray,
    goal_rotation: np.ndarray,
) -> None:
    """New goals from delta actions; without any rotation the last goal's orientation stays.

    Args:
        action: ``[n, 7]`` in [-1, 1]: translation, rotation as an axis angle, gripper (unused).
        scale: ``[6]`` metres and rad per unit of action.
        position: ``[n, 3]`` of the hand's site now.
        rotation: ``[n, 9]`` its frame, row by row.
        goal: ``[n, 3]``, written.
        goal_rotation: ``[n, 9]``, written.
    """
    turn = np.empty(9)
    for row in range(action.shape[0]):
        for axis in range(3):
            goal[row, axis] = position[row, axis] + action[row, axis] * scale[axis]
        x, y, z = action[row, 3] * scale[3], action[row, 4] * scale[4], action[row, 5] * scale[5]
        if x == 0.0 and y == 0.0 and z == 0.0:
            continue
        rotation_matrix(x, y, z, turn)
        for i in range(3):
            for j in range(3):
                total = 0.0
                for k in range(3):
                    total += turn[3 * i + k] * rotation[row, 3 * k + j]
                goal_rotation[row, 3 * i + j] = total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def rotation_matrix(x: float, y: float, z: float, out: np.ndarray) -> None:
    """Rotation by the axis angle (x, y, z), into ``out`` ``[9]``.

    In single precision between quaternion and matrix, because robosuite's ``quat2mat`` is.
    """
    angle = math.sqrt(x * x + y * y + z * z)
    sine = math.sin(angle / 2.0)
    w = np.float32(math.cos(angle / 2.0))
    a = np.float32(x / angle * sine)
    b = np.float32(y / angle * sine)
    c = np.float32(z / angle * sine)
    total = np.float64(w * w) + np.float64(a * a) + np.float64(b * b) + np.float64(c * c)
    norm = np.float32(total)  # as BLAS adds up single precision here
    factor = math.sqrt(2.0 / norm)
    w, a = np.float32(w * factor), np.float32(a * factor)
    b, c = np.float32(b * factor), np.float32(c * factor)
    out[0] = 1.0 - np.float64(b * b) - np.float64(c * c)
    out[1] = a * b - c * w
    out[2] = a * c + b * w
    out[3] = a * b + c * w
    out[4] = 1.0 - np.float64(a * a) - np.float64(c * c)
    out[5] = b * c - a * w
    out[6] = a * c - b * w
    out[7] = b * c + a * w
    out[8] = 1.0 - np.float64(a * a) - np.float64(b * b)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def command_fingers(
    action: np.ndarray,
    speed: float,
    middle: np.ndarray,
    half: np.ndarray,
    fingers: np.ndarray,
    ctrl: np.ndarray,
) -> None:
    """Move the commanded fingers by one physics step.

    Args:
        action: ``[n, 7]``; the sign of the last closes (1) or opens (-1).
        speed: of the command per physics step, in units of ``half``.
        middle: ``[2]`` centre of the actuators' range, m.
        half: ``[2]`` half of it, m.
        fingers: ``[n, 2]`` command in [-1, 1], updated.
        ctrl: ``[n, 9]``; the last two are written.
    """
    for row in range(action.shape[0]):
        sign = np.sign(action[row, 6])
        fingers[row, 0] = min(max(fingers[row, 0] - speed * sign, -1.0), 1.0)
        fingers[row, 1] = min(max(fingers[row, 1] + speed * sign, -1.0), 1.0)
        for finger in range(2):
            ctrl[row, JOINTS + finger] = middle[finger] + half[finger] * fingers[row, finger]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def command_arm(
    gains: np.ndarray,
    limits: np.ndarray,
    mass: np.ndarray,
    mass_rows: np.ndarray,
    bias: np.ndarray,
    axis: np.ndarray,
    anchor: np.ndarray,
    position: np.ndarray,
    rotation: np.ndarray,
    joints: np.ndarray,
    velocity: np.ndarray,
    initial: np.ndarray,
    goal: np.ndarray,
    goal_rotation: np.ndarray,
    ctrl: np.ndarray,
) -> None:
    """Torques of one physics step.

    Args:
        gains: ``[4]`` stiffness and damping of the hand, then of the null space (1/s^2, 1/s).
        limits: ``[7]`` largest torques.
        mass: ``[n, nM]`` MuJoCo's sparse inertia (lower triangle); the arm's rows are dense.
        mass_rows: ``[7]`` where the arm's rows begin in it.
        bias: ``[n, nv]`` gravity and Coriolis torques.
        axis: ``[n, njnt, 3]`` joint axes.
        anchor: ``[n, njnt, 3]`` points on them, m.
        position: ``[n, 3]`` of the hand's site.
        rotation: ``[n, 9]`` its frame.
        joints: ``[n, nq]`` the arm's come first.
        velocity: ``[n, nv]`` likewise.
        initial: ``[n, 7]`` where the null space draws the arm.
        goal: ``[n, 3]``.
        goal_rotation: ``[n, 9]``.
        ctrl: ``[n, 9]``; the first seven are written.
    """
    jacobian, inertia = np.empty((6, JOINTS)), np.empty((JOINTS, JOINTS))
    solved, inverse, block = np.empty((6, JOINTS)), np.empty((6, 6)), np.empty((3, 3))
    wrench, moved, null, pull = np.empty(6), np.empty(6), np.empty(6), np.empty(JOINTS)
    for row in range(ctrl.shape[0]):
        _jacobian(axis[row], anchor[row], position[row], jacobian)
        for i in range(JOINTS):
            pull[i] = gains[2] * (initial[row, i] - joints[row, i]) - gains[3] * velocity[row, i]
            for j in range(i + 1):
                inertia[i, j] = inertia[j, i] = mass[row, mass_rows[i] + j]
        for k in range(6):
            moved[k] = null[k] = 0.0
            for i in range(JOINTS):
                moved[k] += jacobian[k, i] * velocity[row, i]
                null[k] += jacobian[k, i] * pull[i]
        _desired(gains, position[row], rotation[row], goal[row], goal_rotation[row], moved, wrench)
        for i in range(JOINTS):
            total = bias[row, i]
            for j in range(JOINTS):
                total += inertia[i, j] * pull[j]
            ctrl[row, i] = total
        _operational_inverse(inertia, jacobian, solved, inverse)
        for part in range(2):
            for i in range(3):
                for j in range(3):
                    block[i, j] = inverse[3 * part + i, 3 * part + j]
            _solve(block, wrench[3 * part : 3 * part + 3])
        # N^T M a = M a - J^T Lambda J a: the null space needs no inverse of M.
        _solve(inverse, null)
        for i in range(JOINTS):
            total = ctrl[row, i]
            for k in range(6):
                total += jacobian[k, i] * (wrench[k] - null[k])
            ctrl[row, i] = min(max(total, -limits[i]), limits[i])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _jacobian(axis: np.ndarray, anchor: np.ndarray, point: np.ndarray, out: np.ndarray) -> None:
    """Jacobian ``[6, 7]`` of a point behind seven hinges: translation over rotation."""
    for i in range(JOINTS):
        x, y, z = axis[i, 0], axis[i, 1], axis[i, 2]
        a, b, c = point[0] - anchor[i, 0], point[1] - anchor[i, 1], point[2] - anchor[i, 2]
        out[0, i], out[1, i], out[2, i] = y * c - z * b, z * a - x * c, x * b - y * a
        out[3, i], out[4, i], out[5, i] = x, y, z


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _desired(
    gains: np.ndarray,
    position: np.ndarray,
    rotation: np.ndarray,
    goal: np.ndarray,
    goal_rotation: np.ndarray,
    velocity: np.ndarray,
    out: np.ndarray,
) -> None:
    """Wanted acceleration ``[6]`` of the hand; half the columns' cross products is the turn."""
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        turn = 0.0
        for column in range(3):
            turn += (
                rotation[3 * j + column] * goal_rotation[3 * k + column]
                - rotation[3 * k + column] * goal_rotation[3 * j + column]
            )
        out[i] = gains[0] * (goal[i] - position[i]) - gains[1] * velocity[i]
        out[3 + i] = gains[0] * (0.5 * turn) - gains[1] * velocity[3 + i]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _operational_inverse(
    inertia: np.ndarray, jacobian: np.ndarray, solved: np.ndarray, out: np.ndarray
) -> None:
    """``J M^-1 J^T`` ``[6, 6]`` from M = L L^T and ``L^-1 J^T``; ``inertia`` becomes L."""
    _factor(inertia)
    for k in range(6):
        for i in range(JOINTS):
            total = jacobian[k, i]
            for j in range(i):
                total -= inertia[i, j] * solved[k, j]
            solved[k, i] = total / inertia[i, i]
    for i in range(6):
        for j in range(i + 1):
            total = 0.0
            for k in range(JOINTS):
                total += solved[i, k] * solved[j, k]
            out[i, j] = out[j, i] = total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _factor(matrix: np.ndarray) -> None:
    """Cholesky factor of a positive definite matrix, in its lower triangle."""
    for i in range(matrix.shape[0]):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = math.sqrt(total) if i == j else total / matrix[j, j]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _solve(matrix: np.ndarray, vector: np.ndarray) -> None:
    """``matrix^-1 vector`` in place of ``vector``; ``matrix`` becomes its factor."""
    _factor(matrix)
    size = len(vector)
    for i in range(size):
        for j in range(i):
            vector[i] -= matrix[i, j] * vector[j]
        vector[i] /= matrix[i, i]
    for i in range(size - 1, -1, -1):
        for j in range(i + 1, size):
            vector[i] -= matrix[j, i] * vector[j]
        vector[i] /= matrix[i, i]
