"""Intervals and tests for success rates. Nothing here draws from an ambient generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Interval(NamedTuple):
    """Lower and upper limit."""

    low: float
    high: float


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion, without continuity correction.

    E. B. Wilson 1927; method 3 of R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872.

    ``successes`` may be a sum of shares, one a trial: with less spread than a coin's, the interval is conservative.

    Raises:
        ValueError: for no trials or an impossible count.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n} are not a proportion.")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - half) / scale  # exact limits, free of rounding
    high = 1.0 if successes == n else (centre + half) / scale
    return Interval(low, high)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p value of McNemar's exact test on paired outcomes.

    Args:
        only_a: tasks that only A solved.
        only_b: tasks that only B solved.

    Returns:
        Probability, were both equally good, of a split at least as uneven: a fair coin's binomial tail, doubled.
    """
    n, smaller = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, k) for k in range(smaller + 1)) / 2**n
    return min(1.0, 2 * tail)


def stratified_bootstrap(
    values: ArrayLike,
    strata: Sequence[Hashable],
    generator: np.random.Generator,
    *,
    statistic: Callable[[NDArray[np.float64]], float] = lambda values: float(values.mean()),
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval, resampling within each stratum (Agarwal et al. 2021, arXiv 2108.13264).

    Args:
        values: one row an episode, (n, ...).
        strata: the group of each episode, n of them.
        generator: consumed.
        statistic: of the resampled values.
        resamples: bootstrap samples.
        confidence: coverage.
    """
    rows = np.asarray(values, dtype=np.float64)
    if len(rows) != len(strata) or len(rows) == 0:
        raise ValueError(f"{len(rows)} values and {len(strata)} strata do not belong together.")
    groups = [np.array([i for i, name in enumerate(strata) if name == group]) for group in dict.fromkeys(strata)]
    draws = [
        statistic(rows[np.concatenate([generator.choice(group, len(group)) for group in groups])])
        for _ in range(resamples)
    ]
    edge = (1 - confidence) / 2
    low, high = np.quantile(draws, [edge, 1 - edge])
    return Interval(float(low), float(high))
