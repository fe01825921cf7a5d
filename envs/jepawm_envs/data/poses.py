"""Poses of a hand and the actions between them, as DROID counts them.

A pose is x, y, z in metres, rotation about x, y, z in radians (extrinsic xyz Euler angles), and how far the gripper is
closed, 0 to 1. Facts: jepa-wms ``droid_dset.py:409-450``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

POSITION, ROTATION, GRIPPER = slice(0, 3), slice(3, 6), slice(6, 7)
LOCKED = 1e-7
"""Cosine of the middle angle below which the outer two turn about the same axis."""

Array = NDArray[np.float64]


def poses_to_actions(poses: ArrayLike) -> Array:
    """Actions (..., T - 1, 7) between poses (..., T, 7): moved, turned (in the base frame), closed."""
    values = np.asarray(poses, np.float64)
    before, after = values[..., :-1, :], values[..., 1:, :]
    actions = after - before
    turn = matrix_of_euler(after[..., ROTATION]) @ np.swapaxes(matrix_of_euler(before[..., ROTATION]), -1, -2)
    actions[..., ROTATION] = euler_of_matrix(turn)
    return actions


def next_pose(pose: ArrayLike, action: ArrayLike) -> Array:
    """The pose (..., 7) that an action leads to; the gripper stays within 0 and 1."""
    before, by = np.asarray(pose, np.float64), np.asarray(action, np.float64)
    after = before + by
    after[..., ROTATION] = euler_of_matrix(matrix_of_euler(by[..., ROTATION]) @ matrix_of_euler(before[..., ROTATION]))
    after[..., GRIPPER] = np.clip(after[..., GRIPPER], 0.0, 1.0)
    return after


def matrix_of_euler(angles: ArrayLike) -> Array:
    """Rotation matrices (..., 3, 3) of extrinsic xyz Euler angles (..., 3): Rz Ry Rx."""
    x, y, z = np.moveaxis(np.asarray(angles, np.float64), -1, 0)
    cx, cy, cz, sx, sy, sz = np.cos(x), np.cos(y), np.cos(z), np.sin(x), np.sin(y), np.sin(z)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def euler_of_matrix(matrix: ArrayLike) -> Array:
    """Extrinsic xyz Euler angles (..., 3) of rotation matrices (..., 3, 3); where x and z are one axis, z is 0."""
    m = np.asarray(matrix, np.float64)
    cosine = np.hypot(m[..., 2, 1], m[..., 2, 2])
    y = np.arctan2(-m[..., 2, 0], cosine)
    locked = cosine < LOCKED
    x = np.where(locked, np.arctan2(-m[..., 1, 2], m[..., 1, 1]), np.arctan2(m[..., 2, 1], m[..., 2, 2]))
    z = np.where(locked, 0.0, np.arctan2(m[..., 1, 0], m[..., 0, 0]))
    return np.stack([x, y, z], axis=-1)


def euler_of_quaternion(quaternion: ArrayLike) -> Array:
    """Extrinsic xyz Euler angles (..., 3) of quaternions (..., 4), the real part first, of any length but zero."""
    q = np.asarray(quaternion, np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return euler_of_matrix(np.stack([np.stack(row, axis=-1) for row in rows], axis=-2))
