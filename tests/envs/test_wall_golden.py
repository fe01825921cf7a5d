"""The Wall environment against records of the published one."""

from __future__ import annotations

import numpy as np
import pytest

from jepawm_envs.wall import drawing, physics

STATE_TOLERANCE = 1e-6
"""What the contract asks for; the arithmetic is the same, so the true difference is near 1e-13."""


@pytest.fixture
def record(golden):
    return golden("wall")


def test_free_running_states_equal_the_reference(record):
    path = physics.simulate(record["states"][:, 0], record["actions"])
    np.testing.assert_allclose(path, record["states"][:, 1:], rtol=0, atol=STATE_TOLERANCE)
    assert np.abs(path - record["states"][:, 1:]).max() < 1e-12


def test_every_single_step_equals_the_reference(record):
    after = physics.move(record["states"][:, :-1], record["actions"])
    np.testing.assert_allclose(after, record["states"][:, 1:], rtol=0, atol=STATE_TOLERANCE)


def test_stepping_the_environment_equals_the_reference(record, make_env):
    env = make_env(obs_type="state")
    for states, actions in zip(record["states"][::8], record["actions"][::8], strict=True):
        env.reset(seed=0, options={"init_state": states[0]})
        path = [env.step(action)[4]["state"] for action in actions]
        np.testing.assert_allclose(path, states[1:], rtol=0, atol=STATE_TOLERANCE)


def test_images_differ_from_the_reference_by_at_most_one_grey_level(record):
    images = drawing.draw(record["states"][:, [0, -1]], 224)
    assert np.abs(images.astype(int) - record["frames_first_last"].astype(int)).max() <= 1


def test_rendered_and_observed_images_are_those_of_the_reference(record, make_env):
    env = make_env(image_size=224)
    observation, _ = env.reset(seed=0, options={"init_state": record["states"][0, 0]})
    frame = record["frames_first_last"][0, 0].astype(int)
    rendered = env.render()
    assert rendered is not None
    assert np.abs(observation["pixels"].astype(int) - frame).max() <= 1
    np.testing.assert_array_equal(rendered, observation["pixels"])


def test_sampler_rows_equal_the_reference_exactly(record, make_env):
    env = make_env()
    for seed, init, goal in zip(record["sampler_seed"], record["sampler_init"], record["sampler_goal"], strict=True):
        sampled = env.sample_states(int(seed))
        np.testing.assert_array_equal(sampled, [init, goal])


def test_sampler_gives_the_published_check_vector_for_seed_1(make_env):
    init, goal = make_env().sample_states(1)
    np.testing.assert_allclose(init, [51.50990578, 7.40562724], rtol=0, atol=5e-9)
    np.testing.assert_allclose(goal, [14.98980049, 22.27476257], rtol=0, atol=5e-9)
