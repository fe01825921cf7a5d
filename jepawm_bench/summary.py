"""From episode records to ``summary.json``."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from jepawm_bench.results import EpisodeRecord
from jepawm_bench.run_spec import RunSpec
from jepawm_bench.statistics import wilson


def summarise(spec: RunSpec, records: Sequence[EpisodeRecord], tasks_sha256: str) -> dict[str, Any]:
    """The summary of a finished run. Rates are shares, 0 to 1, intervals are Wilson's at 95 %.

    Args:
        spec: what was run.
        records: every episode, at least one.
        tasks_sha256: hash of the task list.
    """
    return {
        "agent": spec.agent,
        "variant": spec.variant,
        "env": spec.env,
        "protocol": spec.protocol,
        "split": spec.split,
        "seed": spec.seed,
        **rates(records),
        "median_final_distance": median(record.final_distance for record in records),
        "model_evaluations_mean": fmean(record.model_evaluations for record in records),
        "plan_seconds_mean": fmean(record.plan_seconds for record in records),
        "env_seconds_mean": fmean(record.env_seconds for record in records),
        "bins": {name: rates(group) for name, group in by_bin(records).items()},
        "predicates": {name: predicate_rates(records, name) for name in records[0].predicates},
        "tasks_sha256": tasks_sha256,
        "command": spec.command,
    }


def rates(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Number of episodes, success at the end with its interval, success at any time."""
    n, successes = len(records), sum(record.success for record in records)
    low, high = wilson(successes, n)
    return {
        "n": n,
        "success_rate": successes / n,
        "ci_low": low,
        "ci_high": high,
        "success_any_rate": sum(record.success_any for record in records) / n,
    }


def predicate_rates(records: Sequence[EpisodeRecord], name: str) -> dict[str, Any]:
    """One predicate over all episodes: final, any, hold, and the median first hit among those that hit."""
    scores = [record.predicates[name] for record in records]
    n, final = len(scores), sum(score.final for score in scores)
    low, high = wilson(final, n)
    first_hits = [score.steps_to_success for score in scores if score.steps_to_success is not None]
    return {
        "final_rate": final / n,
        "ci_low": low,
        "ci_high": high,
        "any_rate": sum(score.any for score in scores) / n,
        "hold_rate": sum(score.hold for score in scores) / n,
        "steps_to_success_median": float(median(first_hits)) if first_hits else None,
    }


def by_bin(records: Sequence[EpisodeRecord]) -> dict[str, list[EpisodeRecord]]:
    """Records by difficulty bin, bins sorted by name."""
    return {
        name: [record for record in records if record.bin == name]
        for name in sorted({record.bin for record in records})
    }
