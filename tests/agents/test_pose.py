"""Poses integrated over actions: rotations written out by hand, and a recording of a real robot."""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jepawm_agents.world_models.pose import euler_to_matrix, integrate_pose, matrix_to_euler, pose_difference

RECORDING = "franka_demo.npz"


@pytest.fixture
def franka() -> dict[str, Tensor]:
    """Poses (6, 7) of a Franka arm and the actions (3, 7) between the first four."""
    root = Path(__file__).resolve().parents[2]
    golden = Path(os.environ.get("JEPAWM_GOLDEN", root.parent / "shared" / "golden"))
    path = golden.parent / "data" / RECORDING
    if not path.is_file():
        pytest.skip(f"no recording of a Franka at {path}; set JEPAWM_GOLDEN to the folder next to its data")
    with np.load(path, allow_pickle=False) as record:
        return {key: torch.from_numpy(record[key])[0] for key in ("poses_sequence", "actions")}


def about(axis: int, angle: float) -> Tensor:
    """Rotation about one axis, written out."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor(
        [
            [[1, 0, 0], [0, c, -s], [0, s, c]],
            [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        ][axis],
        dtype=torch.float64,
    )


def some_angles(count: int = 200) -> Tensor:
    random = torch.Generator().manual_seed(0)
    scale = torch.tensor([math.pi, math.pi / 2, math.pi], dtype=torch.float64)
    return (2 * torch.rand(count, 3, generator=random, dtype=torch.float64) - 1) * 0.999 * scale


def test_recorded_actions_lead_from_recorded_pose_to_recorded_pose(franka):
    poses, actions = franka["poses_sequence"], franka["actions"]
    after = integrate_pose(poses[:3], actions)
    torch.testing.assert_close(after, poses[1:4], rtol=0, atol=2e-6)
    torch.testing.assert_close(pose_difference(poses[:3], poses[1:4]), actions, rtol=0, atol=2e-6)


def test_the_last_recorded_pose_is_reached_action_by_action(franka):
    poses = franka["poses_sequence"].double()
    pose = poses[0]
    for before, after in pairwise(poses):
        pose = integrate_pose(pose, pose_difference(before, after))
    torch.testing.assert_close(pose, poses[-1], rtol=0, atol=1e-7)


def test_angles_turn_about_fixed_axes_first_x_then_y_then_z():
    for angles in some_angles(20):
        a, b, c = angles.tolist()
        torch.testing.assert_close(euler_to_matrix(angles), about(2, c) @ about(1, b) @ about(0, a))


def test_angles_survive_a_round_trip():
    angles = some_angles()
    torch.testing.assert_close(matrix_to_euler(euler_to_matrix(angles)), angles, rtol=0, atol=1e-9)


@pytest.mark.parametrize("gap", [0.0, 1e-6, 1e-4, 1e-3])
def test_near_there_the_rotation_is_kept_in_single_precision_too(gap):
    rotation = euler_to_matrix(torch.tensor([0.7, math.pi / 2 - gap, -0.4]))
    torch.testing.assert_close(euler_to_matrix(matrix_to_euler(rotation)), rotation, rtol=0, atol=1e-3)


@pytest.mark.parametrize("b", [math.pi / 2, -math.pi / 2])
def test_where_two_axes_fall_together_the_rotation_is_kept_and_the_last_angle_is_zero(b):
    turned = torch.tensor([0.7, b, -0.4], dtype=torch.float64, requires_grad=True)
    rotation = euler_to_matrix(turned)
    angles = matrix_to_euler(rotation)
    assert float(angles[2].detach()) == 0.0
    torch.testing.assert_close(euler_to_matrix(angles), rotation, rtol=0, atol=1e-7)
    angles.sum().backward()
    assert turned.grad is not None and turned.grad.isfinite().all()


def test_a_quarter_turn_about_z_leads_the_hand_from_x_to_y():
    pose = torch.tensor([0.1, 0.2, 0.3, 0.5, 0.0, 0.0, 0.5])
    action = torch.tensor([1.0, 0.0, -0.1, 0.0, 0.0, math.pi / 2, 0.2])
    expected = torch.tensor([1.1, 0.2, 0.2, 0.5, 0.0, math.pi / 2, 0.7])
    torch.testing.assert_close(integrate_pose(pose, action), expected)


@pytest.mark.parametrize(("change", "expected"), [(0.9, 1.0), (-0.9, 0.0), (0.25, 0.75)])
def test_the_gripper_stays_between_open_and_closed(change, expected):
    pose, action = torch.zeros(7), torch.zeros(7)
    pose[6], action[6] = 0.5, change
    assert float(integrate_pose(pose, action)[6]) == expected


def test_gradients_equal_differences():
    random = torch.Generator().manual_seed(1)
    pose = 0.4 * torch.rand(5, 7, generator=random, dtype=torch.float64)
    action = (0.2 * torch.rand(5, 7, generator=random, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: integrate_pose(pose, given), (action,))


def test_poses_and_actions_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"A pose has 7 numbers .* this one has 4"):
        integrate_pose(torch.zeros(2, 4), torch.zeros(2, 7))
    with pytest.raises(ValueError, match=r"An action on poses has 7 numbers .* this one has 10"):
        integrate_pose(torch.zeros(2, 7), torch.zeros(2, 10))
    with pytest.raises(ValueError, match=r"A pose has 7 numbers .* this one has 6"):
        pose_difference(torch.zeros(7), torch.zeros(6))
