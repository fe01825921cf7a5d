"""Where goals come from."""

from __future__ import annotations

import numpy as np
import pytest

from jepawm_envs.data.collect import collect
from jepawm_envs.data.store import EpisodeStore
from jepawm_envs.errors import InvalidOption
from jepawm_envs.goal_sources import SOURCES, draw_task, follow

STEPS = 12


def test_random_state_is_the_published_sampler(make_env):
    env = make_env()
    drawn = draw_task(env, "random_state", 4, steps=STEPS)
    np.testing.assert_array_equal([drawn.init, drawn.goal], env.sample_states(4))


def test_an_expert_goal_is_where_the_expert_ends(make_env):
    env = make_env(obs_type="state")
    drawn = draw_task(env, "expert", 4, steps=60)
    init, target = env.sample_states(4)
    np.testing.assert_array_equal(drawn.init, init)
    np.testing.assert_allclose(drawn.goal, target, atol=1e-6)  # the oracle of Wall arrives


def test_a_dset_goal_is_a_state_of_the_episode_that_gives_the_start(make_env, tmp_path):
    env, path = make_env(), tmp_path / "wall.h5"
    collect("JepaWM/Wall-v0", path, episodes=5, steps=30, image_size=16)
    data = EpisodeStore(path)
    for seed in range(20):
        drawn = draw_task(env, "dset", seed, steps=STEPS, data=data)
        places = [
            (episode, step)
            for episode, states in enumerate(data.states)
            for step in range(len(states) - STEPS)
            if np.array_equal(states[step], drawn.init) and np.allclose(states[step + STEPS], drawn.goal, atol=1e-9)
        ]
        assert len(places) == 1
        assert drawn.provenance.startswith("dset of ")
    data.close()


def test_without_data_the_behaviour_law_gives_an_episode_a_seed(make_env):
    env = make_env()
    one, same, other = (draw_task(env, "dset", seed, steps=STEPS) for seed in (1, 1, 2))
    np.testing.assert_array_equal([one.init, one.goal], [same.init, same.goal])
    assert not np.array_equal(one.init, other.init)
    assert one.provenance == "dset"


def test_random_actions_start_where_the_data_does_and_go_elsewhere(make_env):
    env = make_env()
    recorded, random = (draw_task(env, source, 3, steps=STEPS) for source in ("dset", "random_action"))
    np.testing.assert_array_equal(recorded.init, random.init)
    assert not np.allclose(recorded.goal, random.goal)


def test_following_a_controller_is_an_episode_of_the_environment(make_env):
    env = make_env(obs_type="state")
    init, goal = env.sample_states(2)
    path = follow(env, env.straight_line_action, init, goal, 3)
    env.reset(seed=0, options={"init_state": init, "goal_state": goal})
    states = [env.state]
    for _ in range(3):
        states.append(env.step(env.straight_line_action(states[-1], goal))[4]["state"])
    np.testing.assert_array_equal(path, states)


@pytest.mark.parametrize(
    ("source", "steps", "told"),
    [("dataset", STEPS, "not known"), ("dset", 1000, "too short"), ("official", 1, "no published task list")],
)
def test_what_cannot_be_drawn_is_said(make_env, source, steps, told):
    with pytest.raises(InvalidOption, match=told):
        draw_task(make_env(), source, 0, steps=steps)


def test_every_source_has_a_name_of_the_reference():
    assert SOURCES[:4] == ("random_state", "expert", "dset", "random_action")
