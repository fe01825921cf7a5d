"""How Push-T moves, beside the recordings."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pymunk")

import pymunk

from jepawm_envs.pusht import physics
from jepawm_envs.pusht.shapes import SHAPES

FREE = np.array([100.0, 120.0, 330.0, 340.0, 0.5, 20.0, -10.0])
PUSHING = np.array([330.0, 300.0, 330.0, 340.0, 0.0, 0.0, 0.0])
"""The pusher stands 40 px above the middle of the T's bar."""


def run(simulator, start, actions):
    simulator.place(start)
    states = []
    for action in actions:
        simulator.step(action)
        states.append(simulator.state)
    return np.array(states)


def test_preparation_is_one_substep_of_a_hundredth_of_a_second():
    start = physics.prepare(physics.Simulator(), FREE)
    np.testing.assert_allclose(start[:2], FREE[:2] + 0.01 * FREE[5:], atol=1e-12)
    np.testing.assert_array_equal(start[2:], FREE[2:])


def test_a_free_pusher_follows_the_pd_controller():
    action = np.array([0.3, -0.2])
    position, velocity = FREE[:2].copy(), FREE[5:].copy()
    target = position + 100 * action
    for _ in range(10):
        velocity += 0.01 * (100 * (target - position) - 20 * velocity)
        position += 0.01 * velocity
    state = run(physics.Simulator(), FREE, [action])[0]
    np.testing.assert_allclose(state[[0, 1, 5, 6]], [*position, *velocity], rtol=1e-12)
    np.testing.assert_array_equal(state[2:5], FREE[2:5])


def test_simulate_is_stepping_from_exactly_these_states(pushes):
    states, actions = pushes
    together = physics.simulate(physics.Simulator(), states, actions)
    alone = [run(physics.Simulator(), state, sequence) for state, sequence in zip(states, actions, strict=True)]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(
        physics.simulate(physics.Simulator(), states[0], actions), together_from(states[0], actions)
    )


def together_from(state, actions):
    return [run(physics.Simulator(), state, sequence) for sequence in actions]


@pytest.fixture
def pushes():
    random = np.random.default_rng(3)
    states = np.stack([PUSHING + np.array([dx, 0, 0, 0, 0, 0, 0]) for dx in (-30.0, 0.0, 25.0)])
    return states, random.normal(0.0, 0.3, size=(3, 12, 2)) + np.array([0.0, 0.15])


def test_results_do_not_depend_on_what_the_simulator_did_before():
    push = np.tile([0.0, 0.3], (8, 1))
    fresh = run(physics.Simulator(), PUSHING, push)
    used = physics.Simulator()
    run(used, FREE, np.tile([0.4, 0.4], (20, 1)))
    np.testing.assert_array_equal(run(used, PUSHING, push), fresh)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_block_is_pushed_away_and_rests_when_left(shape):
    simulator = physics.Simulator(physics.World(shape))
    start = np.array([256.0, 100.0, 256.0, 220.0, 0.0, 0.0, 0.0])
    pushed = run(simulator, start, np.tile([0.0, 0.3], (14, 1)))[-1]
    assert pushed[3] > start[3] + 5
    left = run(simulator, np.array([50.0, 50.0, *pushed[2:5], 0.0, 0.0]), np.tile([0.1, 0.0], (5, 1)))
    np.testing.assert_allclose(left[:, 2:5], np.tile(pushed[2:5], (5, 1)), atol=1e-9)


def test_blocks_are_those_of_the_facts():
    areas = {name: sum(_area(part) for part in shape.parts) for name, shape in SHAPES.items()}
    unit = 40.0**2
    expected = {"L": 4, "Z": 4, "square": 4, "I": 4, "small_tee": 4, "+": 5}
    assert areas == {"T": 30 * 120 + 30 * 90, **{name: cells * unit for name, cells in expected.items()}}
    body, _ = physics._block_body(physics.WORLD)
    assert body.moment == pytest.approx(3000.0) and body.center_of_gravity == pytest.approx((0, 45))


def _area(part):
    return abs(pymunk.area_for_poly(part))


@pytest.mark.parametrize("seed", range(4))
def test_long_wild_pushing_stays_finite_and_a_block_against_a_wall_stays_inside(seed):
    """The pusher is not held by walls, so it is led around; the block is then held by them."""
    random = np.random.default_rng(seed)
    simulator = physics.Simulator()
    simulator.place(FREE)
    for _ in range(3000):
        state = simulator.state
        target = random.uniform(60, 452, size=2)
        simulator.step((target - state[:2]) / 100 + random.normal(0, 1.0, size=2))
        assert np.isfinite(state).all() and 0 <= state[4] < physics.TWO_PI
        assert (state[2:4] > -60).all() and (state[2:4] < 572).all()


def test_mass_matters_only_against_the_moment_of_inertia():
    off_centre = PUSHING + np.array([40, 0, 0, 0, 0, 0, 0])
    turned = [
        run(physics.Simulator(physics.World(block_mass=mass)), off_centre, np.tile([0.0, 0.3], (6, 1)))[-1, 4]
        for mass in (0.25, 1.0, 4.0)
    ]
    signed = (np.array(turned) + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(signed[0]) < np.abs(signed[1]) < np.abs(signed[2])
