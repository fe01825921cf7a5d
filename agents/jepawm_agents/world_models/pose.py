"""Poses of a robot's hand and the differences between them, the actions of DROID.

A pose is (x, y, z, a, b, c, gripper): metres in the base frame, extrinsic xyz Euler angles in radians, closedness
from 0 to 1. An action is a difference of poses: positions and gripper are subtracted, orientations composed,
R(action) = R(after) R(before)^T (jepa-wms ``droid_dset.py:409-450``, commit 6eafb14).

Differs from the reference: in torch on the tensors' device, so that gradients reach the actions.
"""

from __future__ import annotations

import torch
from torch import Tensor

POSE_DIM = 7


def integrate_pose(pose: Tensor, action: Tensor) -> Tensor:
    """The pose (..., 7) that an action (..., 7) leads to; the gripper stays within 0 and 1.

    Raises:
        ValueError: if either has another size.
    """
    _check(pose, "A pose")
    _check(action, "An action on poses")
    turned = matrix_to_euler(euler_to_matrix(action[..., 3:6]) @ euler_to_matrix(pose[..., 3:6]))
    gripper = (pose[..., 6:] + action[..., 6:]).clamp(0.0, 1.0)
    return torch.cat([pose[..., :3] + action[..., :3], turned, gripper], dim=-1)


def pose_difference(before: Tensor, after: Tensor) -> Tensor:
    """The action (..., 7) that leads from one pose (..., 7) to another.

    Raises:
        ValueError: if either has another size.
    """
    _check(before, "A pose")
    _check(after, "A pose")
    turn = euler_to_matrix(after[..., 3:6]) @ euler_to_matrix(before[..., 3:6]).transpose(-1, -2)
    return torch.cat(
        [after[..., :3] - before[..., :3], matrix_to_euler(turn), after[..., 6:] - before[..., 6:]], dim=-1
    )


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Extrinsic xyz angles (..., 3) in radians to rotations R_z(c) R_y(b) R_x(a), (..., 3, 3)."""
    (sa, sb, sc), (ca, cb, cc) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = [
        [cb * cc, sa * sb * cc - ca * sc, ca * sb * cc + sa * sc],
        [cb * sc, sa * sb * sc + ca * cc, ca * sb * sc - sa * cc],
        [-sb, sa * cb, ca * cb],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def matrix_to_euler(rotation: Tensor) -> Tensor:
    """Rotations (..., 3, 3) to extrinsic xyz angles (..., 3), b within a quarter turn of zero.

    Where b is a quarter turn, but for half of the digits, the other two turn about one axis and only their sum or
    difference is known: the last angle is then zero, by convention.
    """
    r = rotation
    smallest = torch.finfo(r.dtype).eps ** 0.5
    cosine = torch.sqrt((r[..., 0, 0].square() + r[..., 1, 0].square()).clamp_min(smallest**2))
    locked = cosine <= smallest
    one = torch.ones_like(cosine)
    # The branch not taken gets harmless arguments: atan2(0, 0) has no gradient, and NaN times zero is NaN.
    a = torch.atan2(
        torch.where(locked, -r[..., 1, 2], r[..., 2, 1]),
        torch.where(locked, r[..., 1, 1], r[..., 2, 2]),
    )
    b = torch.atan2(-r[..., 2, 0], cosine)
    c = torch.atan2(torch.where(locked, 0.0 * one, r[..., 1, 0]), torch.where(locked, one, r[..., 0, 0]))
    return torch.stack([a, b, c], dim=-1)


def _check(value: Tensor, what: str) -> None:
    if value.shape[-1] != POSE_DIM:
        raise ValueError(
            f"{what} has {POSE_DIM} numbers (position, Euler angles, gripper), but this one has {value.shape[-1]}."
        )
