"""Two runs on the same tasks, task by task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepawm_bench.errors import UsageError
from jepawm_bench.statistics import Interval, mcnemar_exact, stratified_bootstrap
from jepawm_bench.verify import Claims, read_claims

BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Comparison:
    """Counts of tasks by who solved them, and what follows."""

    a: str
    b: str
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    """Success rate of A minus that of B."""
    interval: Interval
    """95 % of the difference: bootstrap over tasks, fixed seed."""
    p_value: float
    """Exact McNemar test, two-sided."""

    @property
    def n(self) -> int:
        """Tasks."""
        return self.both + self.only_a + self.only_b + self.neither


def compare(path_a: Path, path_b: Path) -> Comparison:
    """Compare two finished runs.

    Raises:
        UsageError: when they were not made on the same tasks.
        DamagedRun: when one cannot be read.
    """
    a, b = read_claims(path_a), read_claims(path_b)
    if a.summary.get("tasks_sha256") != b.summary.get("tasks_sha256") or len(a.records) != len(b.records):
        raise UsageError(
            f"{path_a} and {path_b} were not made on the same tasks ({_tasks(a)}; {_tasks(b)}); "
            "run both with the same --env, --protocol, --episodes and, where it makes the tasks, --seed."
        )
    won_a = np.array([record.success for record in a.records])
    won_b = np.array([record.success for record in b.records])
    gains = won_a.astype(float) - won_b.astype(float)
    only_a, only_b = int((gains > 0).sum()), int((gains < 0).sum())
    return Comparison(
        a=_name(a),
        b=_name(b),
        both=int((won_a & won_b).sum()),
        only_a=only_a,
        only_b=only_b,
        neither=int((~won_a & ~won_b).sum()),
        difference=float(gains.mean()),
        interval=stratified_bootstrap(gains, ["all"] * len(gains), np.random.default_rng(BOOTSTRAP_SEED)),
        p_value=mcnemar_exact(only_a, only_b),
    )


def _name(claims: Claims) -> str:
    return f"{claims.spec.agent}@{claims.label}, seed {claims.spec.seed}"


def _tasks(claims: Claims) -> str:
    spec = claims.spec
    return f"{len(claims.records)} tasks of {spec.env}, {spec.protocol}, seed {spec.seed}"
