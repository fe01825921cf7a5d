"""Overrides from the command line."""

import pytest

from jepawm_bench.errors import UsageError
from jepawm_bench.settings import flatten, for_protocol, merge, parse_overrides, parse_value


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


@pytest.mark.parametrize("text", ["a", "=3", "a.=3", "a b=3", ".a=1"])
def test_a_malformed_override_is_named(text):
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_overrides([text])


def test_merging_changes_neither_side():
    base, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(base, over) == {"a": {"b": 1, "c": 2}}
    assert (base, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_protocol_table_lies_over_the_rest():
    settings = {"planner": {"m": 6, "n": 3}, "protocols": {"standard": {"planner": {"m": 3}}}}
    assert for_protocol(settings, "paper") == {"planner": {"m": 6, "n": 3}}
    assert for_protocol(settings, "standard") == {"planner": {"m": 3, "n": 3}}
    assert flatten(for_protocol(settings, "standard")) == {"planner.m": 3, "planner.n": 3}
