"""Overrides from the command line."""

import random
import shlex
from typing import Any

import pytest

from jepawm_bench.errors import UsageError
from jepawm_bench.run_spec import RunSpec
from jepawm_bench.settings import (
    flatten,
    for_protocol,
    merge,
    parse_overrides,
    parse_value,
    refuse_parts_of_values,
    switch_planner,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('"3"', "3"),
        ("cem", "cem"),
        ("", ""),
    ],
)
def test_values_are_toml_and_else_text(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_a_value_cannot_bring_further_keys():
    assert parse_value("1\nother = 2") == "1\nother = 2"


def test_later_overrides_win_and_neighbours_stay():
    assert parse_overrides(["a.b=1", "a.c=x", "a.b=2", "d=3"]) == {"a": {"b": 2, "c": "x"}, "d": 3}


@pytest.mark.parametrize("text", ["a", "=3", "a.=3", "a b=3", ".a=1", "2=1", "a..b=1"])
def test_a_malformed_override_is_named(text):
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_overrides([text])


def draw(random, depth=0) -> Any:
    """A setting: number, bool, text, list or table."""
    kind = random.choice(["int", "float", "bool", "text", "word", "list", "table"][: 7 if depth < 2 else 5])
    if kind == "int":
        return random.randint(-(10**12), 10**12)
    if kind == "float":
        return random.choice([random.gauss(0, 1), 1e-7, 1e22, -0.0, 3.0])
    if kind == "bool":
        return random.random() < 0.5
    if kind == "text":
        return "".join(random.choices("ab 1.,=[]{}'\"\\\n\t#$\x7f\x01é😀", k=random.randint(0, 8)))
    if kind == "word":
        return random.choice(["cem", "3", "true", "1e-3", "[1]", "inf", "nan", "2026-01-01", " cem", "cem ", ""])
    if kind == "list":
        return [draw(random, 2) for _ in range(random.randint(0, 3))]
    return {draw_key(random, depth + 1): draw(random, depth + 1) for _ in range(random.randint(1, 3))}


def draw_key(random, depth=0) -> str:
    return random.choice(["a", "planner", "num_samples", "x-y", "_z", *(["0", "2", "10", "-1"] if depth else [])])


def test_the_stored_command_says_what_was_overridden():
    source = random.Random(0)
    for _ in range(500):
        overrides = {draw_key(source): draw(source) for _ in range(3)}
        command = shlex.split(spec(overrides).command)
        again = parse_overrides(command[place + 1] for place, word in enumerate(command) if word == "--set")
        assert repr(flatten(again)) == repr(flatten(overrides)), command


def spec(overrides):
    return RunSpec("a", "default", "agent", "JepaWM/Wall-v0", "paper", None, 1, 96, {}, overrides=overrides)


def test_a_key_may_have_numbers_below_its_first_part():
    assert parse_overrides(["planner.bounds.2=0.1"]) == {"planner": {"bounds": {"2": 0.1}}}


@pytest.mark.parametrize("text", ["inf", "nan", "2026-01-01", "[1, inf]"])
def test_what_cannot_be_stored_is_text(text):
    assert parse_value(text) == text


def test_merging_changes_neither_side():
    base, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(base, over) == {"a": {"b": 1, "c": 2}}
    assert (base, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_protocol_table_lies_over_the_rest():
    settings = {"planner": {"m": 6, "n": 3}, "protocols": {"standard": {"planner": {"m": 3}}}}
    assert for_protocol(settings, "paper") == {"planner": {"m": 6, "n": 3}}
    assert for_protocol(settings, "standard") == {"planner": {"m": 3, "n": 3}}
    assert flatten(for_protocol(settings, "standard")) == {"planner.m": 3, "planner.n": 3}


def test_tables_of_environments_lie_over_those_of_protocols():
    settings = {
        "planner": {"n": 300, "m": 6},
        "protocols": {"standard": {"planner": {"m": 3}}},
        "envs": {"JepaWM/Meta*": {"planner": {"n": 8}, "protocols": {"standard": {"planner": {"m": 1}}}}},
    }
    assert for_protocol(settings, "paper", "JepaWM/Wall-v0") == {"planner": {"n": 300, "m": 6}}
    assert for_protocol(settings, "paper", "JepaWM/MetaX-v0") == {"planner": {"n": 8, "m": 6}}
    assert for_protocol(settings, "standard", "JepaWM/MetaX-v0") == {"planner": {"n": 8, "m": 1}}


def test_another_planner_keeps_the_frame_and_has_its_own_numbers():
    settings = {"planner": {"name": "cem", "horizon": 3, "execution_horizon": 1, "num_samples": 300}, "x": 1}
    assert switch_planner(settings, {}) == switch_planner(settings, {"planner": {"name": "cem"}}) == settings
    assert switch_planner(settings, {"planner": {"num_samples": 8}}) == settings
    assert switch_planner(settings, {"planner": {"name": "gd"}}) == {
        "planner": {"horizon": 3, "execution_horizon": 1},
        "x": 1,
    }


def test_a_part_of_what_has_no_parts_is_not_set():
    settings = {"planner": {"bounds": 1.4, "name": "cem"}, "objective": {}}
    refuse_parts_of_values(settings, {"planner": {"bounds": 2.0}, "objective": {"alpha": {"x": 1}}, "new": {"y": 1}})
    with pytest.raises(
        UsageError, match=r"--set planner\.bounds\.0 sets a part of planner\.bounds, which is 1\.4 as a"
    ):
        refuse_parts_of_values(settings, {"planner": {"bounds": {"0": 0.5}}})
