"""What an environment refuses, and the sentence it says."""

from __future__ import annotations

import copy
import importlib

import numpy as np
import pytest

from jepawm_envs.errors import EnvError, InvalidAction, InvalidOption, InvalidState
from jepawm_envs.registration import ENVIRONMENTS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"obs_type": "pixel"}, "obs_type='pixel' is not known; choose one of pixels, state"),
        ({"render_quality": "best"}, "render_quality='best' is not known; choose one of paper, fast"),
        ({"render_mode": "human"}, "render_mode='human' is not known; choose one of rgb_array"),
        ({"image_size": 4}, "image_size=4 is not possible; choose a whole number from 8 to 2048"),
        ({"image_size": 5000}, "image_size=5000 is not possible"),
        ({"image_size": "big"}, "image_size='big' is not possible"),
        ({"image_size": 64.5}, "image_size=64.5 is not possible"),
    ],
)
def test_unknown_settings_are_refused_with_the_choices(env_id, settings, message):
    record = ENVIRONMENTS[env_id]
    module, name = record.entry_point.split(":")
    with pytest.raises(InvalidOption, match=message):
        getattr(importlib.import_module(module), name)(**record.settings, **settings)


@pytest.mark.parametrize("action", [[], [[0.0] * 2], [0.0] * 50, 0.0])
def test_an_action_of_the_wrong_shape_is_refused(make_env, env_id, action):
    env = make_env(env_id)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=rf"An action has shape \({env.action_dim},\) here, not \("):
        env.step(action)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_refused_and_changes_nothing(make_env, env_id, bad):
    env = make_env(env_id)
    env.reset(seed=0)
    before = env.state
    with pytest.raises(InvalidAction, match="An action must be finite numbers, not"):
        env.step([bad] + [0.0] * (env.action_dim - 1))
    np.testing.assert_array_equal(env.state, before)


def test_using_an_environment_before_its_reset_says_what_to_do(make_env, env_id):
    env = make_env(env_id)
    for use in (lambda: env.step(np.zeros(env.action_dim)), env.render, lambda: env.state, lambda: env.goal_state):
        with pytest.raises(EnvError, match=r"no state yet; call reset\(\) first"):
            use()


def test_an_unknown_reset_option_is_refused_with_the_choices(make_env, env_id):
    with pytest.raises(
        InvalidOption, match="reset option='init' is not known; choose one of init_state, goal_state, factors"
    ):
        make_env(env_id).reset(options={"init": [1.0, 2.0]})


@pytest.mark.parametrize("name", ["init_state", "goal_state"])
@pytest.mark.parametrize("bad", [[1.0], [[1.0, 2.0]], [np.nan] * 2, [10.0] * 40])
def test_a_state_of_the_wrong_form_is_refused_by_name(make_env, env_id, name, bad):
    env = make_env(env_id)
    with pytest.raises(InvalidState, match=rf"{name}.* must be .*numbers.*, but"):
        env.reset(seed=0, options={name: bad})


@pytest.mark.parametrize("name", ["init_state", "goal_state"])
@pytest.mark.parametrize("state", [[32.0, 20.0], [29.5, 34.5], [34.9, 50.0]])
def test_a_state_inside_the_wall_is_refused(make_env, name, state):
    with pytest.raises(InvalidState, match=rf"{name} .* is not possible: it lies in the wall \(x 29 to 35"):
        make_env().reset(seed=0, options={name: state})


@pytest.mark.parametrize("state", [[3.9, 20.0], [20.0, 60.1], [-5.0, 20.0]])
def test_a_state_beyond_the_border_is_refused(make_env, state):
    with pytest.raises(InvalidState, match="both coordinates must lie between 4 and 60"):
        make_env().reset(seed=0, options={"init_state": state})


@pytest.mark.parametrize("state", [[32.0, 30.0], [29.0, 20.0], [35.0, 50.0], [4.0, 60.0]])
def test_states_in_the_door_and_on_the_lines_are_accepted(make_env, state):
    env = make_env()
    env.reset(seed=0, options={"init_state": state})
    assert env.state.tolist() == state


@pytest.mark.parametrize("name", ["init_state", "goal_state"])
@pytest.mark.parametrize("bad", ["abc", [[1.0], [1.0, 2.0]], [None]])
def test_a_state_that_is_no_array_of_numbers_is_refused_by_name(make_env, env_id, name, bad):
    with pytest.raises(InvalidState, match=rf"{name}.* must be"):
        make_env(env_id).reset(seed=0, options={name: bad})


def test_a_refused_reset_leaves_the_running_episode_as_it_was(make_env, env_id):
    env = make_env(env_id, obs_type="state")
    env.reset(seed=1)
    before = [env.state, env.goal_state]
    with pytest.raises(InvalidState):
        env.reset(seed=2, options={"init_state": env.sample_states(3)[0], "goal_state": [np.inf] * env.state_dim})
    names = {factor.name: "sample" for factor in type(env).factors}
    with pytest.raises(InvalidState):
        env.reset(seed=2, options={"goal_state": [np.inf] * env.state_dim, "factors": names})
    np.testing.assert_array_equal([*before[0], *before[1]], [*env.state, *env.goal_state])
    assert env.factors_in_force == {}
    twin = copy.deepcopy(env)
    action = np.full(env.action_dim, 0.5)
    np.testing.assert_array_equal(env.step(action)[4]["state"], twin.step(action)[4]["state"])


def test_every_error_is_an_environment_error_and_a_value_error(env_id):
    for error in (InvalidAction, InvalidOption, InvalidState):
        assert issubclass(error, EnvError) and issubclass(error, ValueError)
