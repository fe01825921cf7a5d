"""Poses and actions of hands: against a recording of a real arm, and their own inverse."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from jepawm_envs.data.poses import (
    euler_of_matrix,
    euler_of_quaternion,
    matrix_of_euler,
    next_pose,
    poses_to_actions,
)

ROOT = Path(__file__).resolve().parents[2]


def test_actions_of_a_real_recording_are_differences_of_its_poses():
    golden = Path(os.environ.get("JEPAWM_GOLDEN", ROOT.parent / "shared" / "golden"))
    path = golden.parent / "data" / "franka_demo.npz"
    if not path.is_file():
        pytest.skip(f"no recording at {path}")
    with np.load(path, allow_pickle=False) as demo:
        poses, actions = demo["poses_sequence"][0], demo["actions"][0]
    made = poses_to_actions(poses[: len(actions) + 1])
    np.testing.assert_allclose(made, actions, atol=2e-6)  # float32
    assert np.abs(actions[:, 3:6]).max() > 1e-3  # the hand does turn


def test_an_action_leads_from_a_pose_to_the_next():
    random = np.random.default_rng(0)
    poses = np.concatenate([random.normal(size=(50, 3)), random.uniform(-1.5, 1.5, (50, 3)), random.random((50, 1))], 1)
    reached = next_pose(poses[:-1], poses_to_actions(poses))
    np.testing.assert_allclose(reached[:, [0, 1, 2, 6]], poses[1:, [0, 1, 2, 6]], atol=1e-12)
    np.testing.assert_allclose(matrix_of_euler(reached[:, 3:6]), matrix_of_euler(poses[1:, 3:6]), atol=1e-12)


def test_the_gripper_stays_between_open_and_closed():
    assert next_pose(np.zeros(7), np.full(7, 2.0))[6] == 1.0
    assert next_pose(np.zeros(7), np.full(7, -2.0))[6] == 0.0


def test_turns_are_counted_in_the_base_frame_and_about_fixed_axes():
    quarter = np.pi / 2
    np.testing.assert_allclose(matrix_of_euler([0, 0, quarter]) @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(matrix_of_euler([quarter, 0, quarter]) @ [0, 1, 0], [0, 0, 1], atol=1e-15)  # x first
    poses = np.zeros((2, 7))
    poses[0, 3:6], poses[1, 3:6] = [quarter, 0, 0], [quarter, 0, 0.3]
    np.testing.assert_allclose(poses_to_actions(poses)[0, 3:6], [0, 0, 0.3], atol=1e-12)


@pytest.mark.parametrize("angles", [(0.3, np.pi / 2, -1.0), (0.3, -np.pi / 2, 0.4), (3.0, 1.2, -3.0), (0, 0, 0)])
def test_angles_of_a_matrix_give_it_back_even_where_two_axes_are_one(angles):
    matrix = matrix_of_euler(angles)
    np.testing.assert_allclose(matrix_of_euler(euler_of_matrix(matrix)), matrix, atol=1e-7)


def test_quaternions_are_the_same_turns():
    random = np.random.default_rng(1)
    x, y, z = angles = random.uniform(-1.5, 1.5, (3, 20))
    halves = [(np.cos(angle / 2), np.sin(angle / 2)) for angle in (x, y, z)]
    (cx, sx), (cy, sy), (cz, sz) = halves
    quaternion = np.stack(  # about x, then y, then z, multiplied by hand
        [
            cz * cy * cx + sz * sy * sx,
            cz * cy * sx - sz * sy * cx,
            cz * sy * cx + sz * cy * sx,
            sz * cy * cx - cz * sy * sx,
        ],
        axis=-1,
    )
    np.testing.assert_allclose(euler_of_quaternion(3.0 * quaternion), angles.T, atol=1e-12)
