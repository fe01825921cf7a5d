"""Images are drawn when somebody reads them, once, and readers never notice."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from jepawm_envs.lazy import Lazy, LazyDict


@pytest.fixture
def count_drawings(monkeypatch, make_env):
    """An environment and the list of sizes it was made to draw."""

    def build(env_id: str, **settings):
        env, drawn = make_env(env_id, **settings), []
        original = env.draw
        monkeypatch.setattr(env, "draw", lambda state, size: drawn.append(size) or original(state, size))
        return env, drawn

    return build


def lazy_dict() -> LazyDict:
    return LazyDict(image=Lazy(lambda: 3), number=2)


def test_nothing_is_drawn_until_pixels_are_read(count_drawings, env_id):
    env, drawn = count_drawings(env_id)
    observation, _ = env.reset(seed=0)
    for _ in range(5):
        observation, *_ = env.step(np.zeros(env.action_dim))
        assert observation["proprio"].shape == observation["goal_proprio"].shape
        assert len(observation) == len(list(observation)) == 4
    assert drawn == []
    assert observation["pixels"] is observation["pixels"]
    assert drawn == [32]


def test_the_goal_is_drawn_once_an_episode(count_drawings, env_id):
    env, drawn = count_drawings(env_id)
    for episode in (1, 2):
        observations = [env.reset(seed=episode)[0]]
        observations += [env.step(np.zeros(env.action_dim))[0] for _ in range(4)]
        images = [observation["goal_pixels"] for observation in observations]
        assert len(drawn) == episode
        assert all(np.array_equal(image, images[0]) for image in images)
        assert not np.shares_memory(images[0], images[1])


def test_state_mode_never_draws(count_drawings, env_id):
    env, drawn = count_drawings(env_id, obs_type="state")
    env.reset(seed=0)
    env.step(np.zeros(env.action_dim))
    assert drawn == []


def test_an_observation_read_late_shows_its_own_moment_and_goal(make_env, env_id):
    env = make_env(env_id)
    early, _ = env.reset(seed=1)
    for _ in range(3):
        env.step(np.full(env.action_dim, 0.9))
    env.reset(seed=2)
    fresh, _ = make_env(env_id).reset(seed=1)
    for key in fresh:
        np.testing.assert_array_equal(early[key], fresh[key])
    assert (early["pixels"] != env.render()).any()


@pytest.mark.parametrize(
    "read",
    [
        dict,
        copy.copy,
        copy.deepcopy,
        LazyDict.copy,
        lambda lazy: {**lazy},
        lambda lazy: lazy | {},
        lambda lazy: {} | lazy,
        lambda lazy: pickle.loads(pickle.dumps(lazy)),
        lambda lazy: dict(lazy.items()),
        lambda lazy: dict(zip(lazy.keys(), lazy.values(), strict=True)),
        lambda lazy: {key: lazy[key] for key in lazy},
        lambda lazy: {key: lazy.get(key) for key in lazy},
        lambda lazy: {key: lazy.setdefault(key, None) for key in list(lazy)},
        lambda lazy: {key: lazy.pop(key) for key in list(lazy)},
        lambda lazy: dict(lazy.popitem() for _ in range(2)),
    ],
)
def test_every_way_of_reading_shows_real_values(read):
    values = dict(read(lazy_dict()))
    assert all(type(value) is int for value in values.values())
    assert values == {"image": 3, "number": 2}


def test_comparisons_and_repr_show_real_values():
    assert lazy_dict() == {"image": 3, "number": 2} == lazy_dict()
    assert lazy_dict().__ne__({"image": 3, "number": 2}) is False
    assert repr(lazy_dict()) == "{'image': 3, 'number': 2}"


def test_missing_keys_behave_as_in_a_dictionary():
    assert lazy_dict().get("absent", 5) == 5 == lazy_dict().pop("absent", 5)
    with pytest.raises(KeyError, match="absent"):
        lazy_dict()["absent"]
