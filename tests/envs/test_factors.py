"""Factors of variation: validation, defaults that change nothing, draws that do not depend on their neighbours."""

import json

import numpy as np
import pytest
from gymnasium import spaces

from jepawm_envs import factors
from jepawm_envs.errors import InvalidOption, InvalidState
from jepawm_envs.factors import Factor, resolve, value_in_force
from jepawm_envs.tworooms.env import TwoRoomsEnv
from jepawm_envs.wall.env import WallEnv

COLOR = Factor("dot.color", spaces.Box(0, 255, (3,), np.uint8), (255, 0, 0), "appearance", "RGB of the dot")
MASS = Factor("block.mass", spaces.Box(0.5, 2.0, (), np.float64), 1.0, "physics", "mass, kg")
SHAPE = Factor("block.shape", spaces.Discrete(4, start=1), 2, "physics", "which block")
TABLE = (COLOR, MASS, SHAPE)


def test_nothing_asked_for_is_the_published_environment():
    assert resolve(TABLE, None, 0) == {} == resolve(TABLE, {}, 0) == resolve(TABLE, [], 0)
    assert value_in_force(TABLE, {}, "dot.color") == (255, 0, 0)


def test_given_values_are_kept_as_plain_numbers_and_defaults_left_out():
    given = {"dot.color": np.array([0, 0, 255]), "block.mass": 0.5, "block.shape": np.int64(2)}
    values = resolve(TABLE, given, 0)
    assert values == {"dot.color": (0, 0, 255), "block.mass": 0.5}
    assert json.loads(json.dumps(values)) == {"dot.color": [0, 0, 255], "block.mass": 0.5}
    assert value_in_force(TABLE, values, "block.mass") == 0.5
    assert value_in_force(TABLE, values, "block.shape") == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dot.color": (0, 0, 256)}, "Factor dot.color must be 3 whole numbers from 0 to 255, not (0, 0, 256)."),
        ({"dot.color": (0, 0)}, "3 whole numbers"),
        ({"dot.color": (0.5, 0, 0)}, "3 whole numbers"),
        ({"dot.color": "red"}, "not 'red'"),
        ({"dot.color": None}, "not None"),
        ({"block.mass": 2.1}, "Factor block.mass must be a number from 0.5 to 2.0, not 2.1."),
        ({"block.mass": float("nan")}, "not nan"),
        ({"block.mass": [1.0]}, "must be a number"),
        ({"block.mass": "1.0"}, "must be a number"),
        ({"block.shape": 5}, "Factor block.shape must be a whole number from 1 to 4, not 5."),
        ({"block.shape": 0}, "not 0"),
        ({"dot.colour": (0, 0, 0)}, "Factor 'dot.colour' is not known; did you mean dot.color?"),
        (["block.mas"], "did you mean block.mass"),
        ("al", "did you mean all"),
        ({"zzzz": 1}, "there are dot.color, block.mass, block.shape."),
        (3, "factors=3 is not understood"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(given, said):
    with pytest.raises(InvalidOption) as refused:
        factors.check_request(TABLE, given)
    assert said in str(refused.value)


def test_groups_and_names_sample_exactly_their_members():
    assert set(resolve(TABLE, "physics", 3)) <= {"block.mass", "block.shape"}
    assert "block.mass" in resolve(TABLE, "physics", 3)
    assert set(resolve(TABLE, "appearance", 3)) == {"dot.color"} == set(resolve(TABLE, "dot.color", 3))
    everything = resolve(TABLE, "all", 3)
    assert everything == resolve(TABLE, {f.name: "sample" for f in TABLE}, 3)
    assert everything == resolve(TABLE, ["physics", "dot.color"], 3)


def test_a_draw_depends_on_the_seed_and_its_own_name_only():
    alone = resolve(TABLE, ["block.mass"], 7)["block.mass"]
    assert resolve(TABLE, "all", 7)["block.mass"] == alone
    assert resolve(TABLE[::-1], "all", 7)["block.mass"] == alone
    more = (Factor("a.new", spaces.Discrete(9), 0, "physics", "another"), *TABLE)
    assert resolve(more, "all", 7)["block.mass"] == alone
    assert resolve(TABLE, "all", 8)["block.mass"] != alone


def test_factors_alike_but_for_their_names_are_drawn_independently():
    twins = [Factor(name, spaces.Box(0.0, 1.0, (), np.float64), 0.5, "physics", "") for name in ("a.x", "b.x")]
    drawn = np.array([list(resolve(twins, "all", seed).values()) for seed in range(200)])
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.25


def test_draws_fill_their_range_and_are_valid():
    drawn = [resolve(TABLE, "all", seed) for seed in range(400)]
    masses = np.array([value_in_force(TABLE, values, "block.mass") for values in drawn])
    assert masses.min() > 0.5 and masses.max() < 2.0 and abs(masses.mean() - 1.25) < 0.07  # 3 standard errors
    assert {value_in_force(TABLE, values, "block.shape") for values in drawn} == {1, 2, 3, 4}
    colors = np.array([value_in_force(TABLE, values, "dot.color") for values in drawn])
    assert colors.min() <= 3 and colors.max() >= 252 and colors.std(axis=1).min() > 0
    assert all(resolve(TABLE, values, 0) == values for values in drawn)


def test_a_factor_that_cannot_be_sampled_or_has_a_wrong_default_is_refused():
    with pytest.raises(InvalidOption, match="finite bounds"):
        Factor("a.b", spaces.Box(0.0, np.inf, (), np.float64), 1.0, "physics", "")
    with pytest.raises(InvalidOption, match=r"must be a number from 0\.0 to 1\.0, not 2"):
        Factor("a.b", spaces.Box(0.0, 1.0, (), np.float64), 2.0, "physics", "")
    with pytest.raises(InvalidOption, match="kind 'colour'"):
        Factor("a.b", spaces.Discrete(2), 0, "colour", "")  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="seed of at least 0"):
        resolve(TABLE, "all", -1)


def test_a_listing_is_plain_data():
    assert json.loads(json.dumps(factors.describe(TABLE)))[1] == {
        "name": "block.mass",
        "kind": "physics",
        "default": 1.0,
        "range": "a number from 0.5 to 2.0",
        "summary": "mass, kg",
    }


WORLDS = [WallEnv, TwoRoomsEnv]


def pictures(env, seed: int = 3) -> np.ndarray:
    observation, _ = env.reset(seed=seed)
    return np.concatenate([observation["pixels"], observation["goal_pixels"]])


@pytest.mark.parametrize("world", WORLDS)
def test_defaults_asked_for_by_name_change_no_pixel_and_no_state(world):
    plain = world(image_size=65)
    asked = world(image_size=65, factors={factor.name: factor.default for factor in world.factors})
    np.testing.assert_array_equal(pictures(asked), pictures(plain))
    np.testing.assert_array_equal(asked.state, plain.state)
    assert asked.factors_in_force == {}


@pytest.mark.parametrize("world", WORLDS)
def test_every_factor_changes_what_it_says_and_sampled_worlds_can_be_solved(world):
    for factor in world.factors:
        plain, varied = world(image_size=65), world(image_size=65, factors=[factor.name])
        assert (pictures(plain) != pictures(varied)).any(), factor.name
        if factor.kind == "appearance":
            np.testing.assert_array_equal(plain.state, varied.state)
            np.testing.assert_array_equal(plain.goal_state, varied.goal_state)
    env = world(obs_type="state", factors="all")
    for seed in range(30):
        env.reset(seed=seed)
        for _ in range(60):
            env.step(env.expert_action(env.state, env.goal_state))
        assert env.is_success(env.state, env.goal_state), env.factors_in_force
        env.check_state(env.state)


@pytest.mark.parametrize("world", WORLDS)
def test_colours_appear_where_they_belong(world):
    colors = {"dot.color": (0, 0, 250), "wall.color": (10, 20, 30), "floor.color": (200, 210, 220)}
    env = world(image_size=65, factors=colors)
    env.reset(seed=1, options={"init_state": (15, 50)})
    picture = env.draw(env.state, 65)
    assert picture[50, 15].tolist() == [0, 0, 250]
    assert picture[4, 10].tolist() == [10, 20, 30] and picture[20, 58].tolist() == [200, 210, 220]


def test_a_moved_wall_stops_the_dot_where_it_is_drawn():
    env = WallEnv(image_size=65, factors={"wall.x": 40, "wall.half_width": 1, "door.y": 20, "door.half_height": 3})
    env.reset(seed=0, options={"init_state": (37.5, 40), "goal_state": (50, 40)})
    picture = env.draw(env.state, 65)
    assert (picture[55, 39:42] == 0).all() and (picture[55, [38, 42]] == 255).all()
    assert (picture[[17, 23], 40] == 255).all() and (picture[[16, 24], 40] == 0).all()
    np.testing.assert_allclose(env.step([1.0, 0.0])[4]["state"], (38.5, 40.5))
    assert env.simulate((37.5, 20.0), [[2.0, 0.0]])[0].tolist() == [41.5, 20.0]


def test_a_start_inside_the_moved_wall_is_refused():
    with pytest.raises(InvalidState, match="lies in the wall"):
        WallEnv(factors={"wall.x": 40}).reset(seed=0, options={"init_state": (40, 50)})


def test_factors_of_one_episode_end_with_it():
    env = WallEnv(image_size=65)
    plain = pictures(env)
    env.reset(seed=3, options={"factors": {"dot.color": (0, 0, 255)}})
    assert env.factors_in_force == {"dot.color": (0, 0, 255)}
    np.testing.assert_array_equal(pictures(env), plain)
