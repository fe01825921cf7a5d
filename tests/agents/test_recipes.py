"""Recipes are data: every one loads, single settings change, mistakes are answered with the nearest name."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from jepawm_agents.cards import all_cards
from jepawm_agents.errors import ConfigError
from jepawm_agents.training.loop import LoopSettings
from jepawm_agents.training.recipes import list_recipes, load_recipe
from jepawm_agents.training.world_model import check
from jepawm_envs.registration import ENVIRONMENTS

NAMES = [recipe["name"] for recipe in list_recipes()]
every_recipe = pytest.mark.parametrize("name", [name for name in NAMES if load_recipe(name)["kind"] == "world_model"])


@every_recipe
def test_every_recipe_names_a_known_agent_and_environment(name):
    recipe = load_recipe(name)
    cards = {card.name: card for card in all_cards()}
    assert recipe["agent"] in cards
    environments = [recipe["data"]["env"], *recipe["data"]["further_envs"]]
    if recipe["data"]["layout"] == "store":  # else the data are not collected here
        assert set(environments) <= ENVIRONMENTS.keys()
    assert len(set(environments)) == len(environments)
    assert all(any(fnmatchcase(env, known) for known in cards[recipe["agent"]].envs) for env in environments)


def test_the_recipe_of_every_shipped_agent_is_that_of_its_card():
    of_cards = {(card.name, variant.get("recipe")) for card in all_cards() for variant in card.variants.values()}
    for agent, recipe in of_cards:
        if recipe is not None:
            assert load_recipe(recipe)["agent"] == agent


@every_recipe
def test_no_recipe_is_refused_but_for_data_that_have_to_be_named(name):
    recipe = load_recipe(name)
    if recipe["data"]["layout"] != "store":
        with pytest.raises(ConfigError, match=r"cannot be collected here; name them with data\.path"):
            check(recipe)
        recipe["data"]["path"] = "somewhere"
    check(recipe)  # builds the model, without memory for its weights
    assert LoopSettings.__dataclass_fields__.keys() <= recipe["train"].keys()


@every_recipe
def test_single_settings_change_and_the_others_stay(name):
    changed, plain = load_recipe(name, {"train": {"seed": 7}, "data": {"path": "x.h5"}}), load_recipe(name)
    assert changed["train"].pop("seed") == 7 != plain["train"].pop("seed")
    assert changed["data"].pop("path") == "x.h5" != plain["data"].pop("path")
    assert changed == plain


def test_a_whole_number_is_taken_where_a_fraction_is_expected():
    value = load_recipe("compact/wall", {"train": {"learning_rate": 1}})["train"]["learning_rate"]
    assert value == 1.0 and isinstance(value, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"step": 7}}, r"Unknown recipe setting 'train\.step'\. Did you mean train\.steps"),
        ({"trian": {"steps": 7}}, r"Unknown recipe setting 'trian'\. Did you mean train"),
        ({"train": 7}, r"Recipe setting 'train' is a table; set one of its keys"),
        ({"train": {"steps": "many"}}, r"Recipe setting 'train\.steps' takes a int, not 'many'"),
        ({"train": {"steps": 7.5}}, r"Recipe setting 'train\.steps' takes a int, not 7\.5"),
        ({"train": {"learning_rate": True}}, r"Recipe setting 'train\.learning_rate' takes a float, not True"),
        ({"encoder": {"model": {"chanels": []}}}, r"Unknown recipe setting 'encoder\.model\.chanels'"),
    ],
)
def test_mistaken_changes_are_refused_with_the_nearest_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("compact/wall", changes)


def test_an_unknown_recipe_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"Unknown recipe 'compact/wal'\. Did you mean compact/wall"):
        load_recipe("compact/wal")


def test_recipes_are_listed_by_name_with_a_summary():
    listed = list_recipes()
    assert [recipe["name"] for recipe in listed] == sorted(recipe["name"] for recipe in listed)
    assert all(recipe["summary"] for recipe in listed)
