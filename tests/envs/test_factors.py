"""Factors of variation: validation, defaults that change nothing, draws that do not depend on their neighbours."""

import json

import numpy as np
import pytest
from gymnasium import spaces

from jepawm_envs import factors
from jepawm_envs.errors import InvalidOption
from jepawm_envs.factors import Factor, resolve, value_in_force

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
