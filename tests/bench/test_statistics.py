"""Intervals and tests against values printed in the literature."""

import numpy as np
import pytest

from jepawm_bench.statistics import mcnemar_exact, stratified_bootstrap, wilson

# R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
NEWCOMBE = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]


@pytest.mark.parametrize(("successes", "n", "low", "high"), NEWCOMBE)
def test_wilson_gives_the_published_limits(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_symmetric_and_ends_exactly_at_zero_and_one():
    assert wilson(20, 20).low == pytest.approx(1 - wilson(0, 20).high)
    assert wilson(20, 20).high == 1.0
    assert wilson(0, 20).low == 0.0


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_what_is_no_proportion(successes, n):
    with pytest.raises(ValueError, match="not a proportion"):
        wilson(successes, n)


@pytest.mark.parametrize(
    ("b", "c", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 32), (1, 8, 20 / 512), (10, 2, 158 / 4096)]
)
def test_mcnemar_is_the_doubled_tail_of_a_fair_coin(b, c, p):
    assert mcnemar_exact(b, c) == pytest.approx(p)
    assert mcnemar_exact(c, b) == pytest.approx(p)


def test_bootstrap_depends_on_its_generator_alone():
    values = np.arange(40.0)
    strata = ["a"] * 20 + ["b"] * 20
    first = stratified_bootstrap(values, strata, np.random.default_rng(3), resamples=200)
    np.random.seed(0)
    assert stratified_bootstrap(values, strata, np.random.default_rng(3), resamples=200) == first
    assert stratified_bootstrap(values, strata, np.random.default_rng(4), resamples=200) != first


def test_bootstrap_keeps_every_stratum_at_its_size():
    values = [0.0] * 10 + [1.0] * 30  # constant within strata: nothing can vary
    interval = stratified_bootstrap(values, ["a"] * 10 + ["b"] * 30, np.random.default_rng(0), resamples=50)
    assert interval == (0.75, 0.75)


def test_bootstrap_of_a_mean_agrees_with_theory():
    values = np.random.default_rng(1).normal(size=400)
    low, high = stratified_bootstrap(values, ["all"] * 400, np.random.default_rng(2))
    standard_error = values.std() / 20
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * standard_error, values.mean() + 1.96 * standard_error), abs=0.02
    )
