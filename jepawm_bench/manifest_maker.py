"""Makes a manifest: candidates from the sampler, minus those that are solved or that nobody can solve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from jepawm_bench.difficulty import BINS, walk
from jepawm_bench.errors import BenchError
from jepawm_bench.manifests import FORMAT, Manifest, manifest_name
from jepawm_bench.protocols import SPLITS, Protocol
from jepawm_bench.scoring import predicates_json
from jepawm_bench.suggest import unknown
from jepawm_bench.tasks import Task, make_world, sample_task

FIRST_SEED = {"dev": 100_000, "test": 200_000}
VERSION = 1


def make_manifest(
    protocol: Protocol,
    split: str,
    *,
    count: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Draw tasks until ``count`` (the protocol's number by default) are accepted. The same call gives the same tasks.

    Raises:
        UsageError: for an unknown split.
        BenchError: when hardly any candidate is acceptable.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    env, wanted = make_world(protocol.env_id), count or protocol.episodes
    attrition: Counter[str] = Counter()
    tasks: list[Task] = []
    seed = FIRST_SEED[split]
    while len(tasks) < wanted:
        if seed - FIRST_SEED[split] >= 50 * wanted:
            raise BenchError(f"Only {len(tasks)} of {50 * wanted} candidates are usable tasks: {dict(attrition)}.")
        task = sample_task(env, protocol, len(tasks), seed)
        reason = refusal(env, task, protocol.budget)
        attrition[reason or "accepted"] += 1
        if reason is None:
            tasks.append(task)
            progress(len(tasks), wanted)
        seed += 1
    return Manifest(_header(env, protocol, split, seed, attrition, tasks), tuple(tasks))


def refusal(env: Any, task: Task, budget: int) -> str | None:
    """Why a candidate is no task: solved at the start, or not reached by the oracle; None when it is one."""
    goal = env.distances(task.init_state, task.goal_state)
    if any(bool(predicate.met(goal)) for predicate in env.predicates):
        return "solved_at_start"
    end = walk(env, env.expert_action, np.array(task.init_state), np.array(task.goal_state), budget)[-1]
    reached = env.distances(end, task.goal_state)
    return None if all(bool(predicate.met(reached)) for predicate in env.predicates) else "not_reached_by_oracle"


def _header(
    env: Any, protocol: Protocol, split: str, end_seed: int, attrition: Counter[str], tasks: list[Task]
) -> dict[str, Any]:
    bins = Counter(task.bin for task in tasks)
    return {
        "format": FORMAT,
        "name": manifest_name(protocol, split),
        "env": protocol.env_id,
        "protocol": protocol.name,
        "split": split,
        "version": VERSION,
        "budget": protocol.budget,
        "predicates": predicates_json(env.predicates),
        "attrition": {
            "candidates": attrition.total(),
            "solved_at_start": attrition["solved_at_start"],
            "not_reached_by_oracle": attrition["not_reached_by_oracle"],
            "accepted": attrition["accepted"],
        },
        "bins": {name: bins[name] for name in BINS},
        "generator": {
            "seeds": [FIRST_SEED[split], end_seed],
            "rule": "sample_states(seed) for consecutive seeds (last one excluded); kept when no predicate holds at "
            "the start and every predicate holds after the oracle's last step within the budget",
        },
    }
