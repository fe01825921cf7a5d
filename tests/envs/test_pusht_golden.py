"""Push-T against recordings of the reference: states, contacts, frames and sampler."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pymunk")

from jepawm_envs.pusht import physics


def asked_state(first_row):
    """What the recorded episode was asked to begin in: whole pixels, moved since by 0.01 s of velocity."""
    state = first_row.copy()
    state[:2] = np.round(state[:2] - state[5:] * physics.SUBSTEP)
    return state


def replay(simulator, start, actions):
    rows = [physics.prepare(simulator, start)]
    for action in actions:
        simulator.step(action)
        rows.append(simulator.state)
    return np.array(rows)


@pytest.fixture(scope="module")
def record(golden):
    return golden("pusht")


def test_states_stay_within_a_thousandth_of_a_pixel_of_the_record(record):
    simulator = physics.Simulator()
    for states, actions in zip(record["states"], record["actions"], strict=True):
        assert np.abs(replay(simulator, asked_state(states[0]), actions) - states).max() < 1e-3


def test_states_equal_the_record_bit_for_bit_once_the_start_angle_is_known(record):
    """The record keeps float32, so the start angle's further digits are lost and contacts magnify the difference.

    A search inside the rounding of that angle finds one that gives every row of nearly all episodes; in the others
    the search, not the physics, ends elsewhere (a contact in the first step makes the residual jump).
    """
    simulator = physics.Simulator()
    pairs = zip(record["states"], record["actions"], strict=True)
    exact = [some_start_angle_gives(simulator, states, actions) for states, actions in pairs]
    assert sum(exact) >= 21, exact


def some_start_angle_gives(simulator, states, actions):
    start = asked_state(states[0])
    rounding = np.spacing(np.abs(states).astype(np.float32)).astype(float) / 2
    centre, width = 0.0, 1.0
    for _ in range(5):
        offsets, residuals = np.clip(centre + width * np.linspace(-1, 1, 21), -1, 1), []
        for offset in offsets:
            angle = np.array([0, 0, 0, 0, offset * rounding[0, 4], 0, 0])
            rows = replay(simulator, start + angle, actions)
            if np.array_equal(rows.astype(np.float32), states):
                return True
            residuals.append(float((np.abs(rows - states) / rounding).max()))
        centre, width = float(offsets[np.argmin(residuals)]), width / 5
    return False


def test_contact_points_equal_the_record(record):
    simulator, counts = physics.Simulator(), []
    for states, actions in zip(record["states"], record["actions"], strict=True):
        physics.prepare(simulator, asked_state(states[0]))
        for action in actions:
            counts.append(simulator.step_counting(action))
    np.testing.assert_array_equal(counts, record["n_contacts"].ravel())
