"""Two runs on the same tasks."""

import pytest

from jepawm_bench.comparison import compare
from jepawm_bench.errors import UsageError
from jepawm_bench.statistics import mcnemar_exact


def test_counts_add_up_and_the_test_is_mcnemars(make_run):
    found = compare(make_run("oracle", episodes=24), make_run("straight_line", episodes=24))
    assert (found.both + found.only_a, found.only_b, found.neither, found.n) == (24, 0, 0, 24)
    assert found.difference == found.only_a / 24
    assert found.p_value == mcnemar_exact(found.only_a, 0)
    assert found.interval.low <= found.difference <= found.interval.high


def test_turning_it_round_turns_the_sign(make_run):
    a, b = make_run("oracle", episodes=24), make_run("straight_line", episodes=24)
    assert compare(b, a).difference == -compare(a, b).difference


def test_different_tasks_are_not_compared(make_run):
    a = make_run("oracle")
    for name, extra in (("seed", ("--seed", 2)), ("protocol", ("--protocol", "standard"))):
        with pytest.raises(UsageError, match="not made on the same tasks"):
            compare(a, make_run("oracle", *extra, name=name))


def test_the_command_prints_it(make_run, cli):
    answer = cli("compare", make_run("oracle", episodes=24), make_run("straight_line", episodes=24))
    assert answer.code == 0
    assert "24 tasks: both" in answer.out
    assert "exact McNemar p" in answer.out
