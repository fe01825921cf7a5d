"""Makes a manifest: candidates from the sampler, minus those that are solved or that nobody can solve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from jepawm_bench.difficulty import bins
from jepawm_bench.errors import BenchError
from jepawm_bench.manifests import FORMAT, Manifest, manifest_name
from jepawm_bench.protocols import EVERY_RULE, NOTHING, PUBLISHED_RULE, SOME_STEP, SPLITS, Protocol
from jepawm_bench.scoring import predicates_json
from jepawm_bench.suggest import unknown
from jepawm_bench.tasks import Task, make_world, sample_task
from jepawm_envs.goal_sources import follow

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
    env, wanted = make_world(protocol.env_id, protocol.env_settings), count or protocol.episodes
    attrition: Counter[str] = Counter()
    tasks: list[Task] = []
    seed = first = first_seed(protocol, split)
    while len(tasks) < wanted:
        if seed - first >= 50 * wanted:
            raise BenchError(f"Only {len(tasks)} of {50 * wanted} candidates are usable tasks: {dict(attrition)}.")
        task = sample_task(env, protocol, len(tasks), seed)
        reason = refusal(env, task, protocol)
        attrition[reason or "accepted"] += 1
        if reason is None:
            tasks.append(task)
            progress(len(tasks), wanted)
        seed += 1
    return Manifest(_header(env, protocol, split, seed, attrition, tasks), tuple(tasks))


def first_seed(protocol: Protocol, split: str) -> int:
    """Where a split's candidates begin: far from the other split's, or at its place in a published list."""
    if protocol.goal_source == "official":
        return {"test": 0, "dev": protocol.episodes}[split]
    return FIRST_SEED[split]


def refusal(env: Any, task: Task, protocol: Protocol) -> str | None:
    """Why a candidate is no task: solved at the start, or not reached by the oracle; None when it is one."""
    if protocol.oracle_meets == NOTHING:
        return None
    init, goal = np.array(task.init_state), np.array(task.goal_state)
    path = env.distances(env.trace(follow(env, env.expert_action, init, goal, protocol.budget)), goal)
    rules = [np.asarray(predicate.met(path)) for predicate in env.predicates]
    if any(bool(met[0]) for met in rules):
        return "solved_at_start"
    reached = {
        EVERY_RULE: all(bool(met[-1]) for met in rules),
        PUBLISHED_RULE: bool(rules[0][-1]),
        SOME_STEP: bool(rules[0].any()),
    }
    return None if reached[protocol.oracle_meets] else "not_reached_by_oracle"


def _header(
    env: Any, protocol: Protocol, split: str, end_seed: int, attrition: Counter[str], tasks: list[Task]
) -> dict[str, Any]:
    found = Counter(task.bin for task in tasks)
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
        "bins": {name: found[name] for name in bins(protocol)},
        "generator": {"seeds": [first_seed(protocol, split), end_seed], "rule": _rule(protocol)},
    }


def _rule(protocol: Protocol) -> str:
    """How the tasks were chosen, in words."""
    if protocol.oracle_meets == NOTHING:
        return "consecutive entries of the published task list (last one excluded), all kept"
    drawn = (
        "sample_states(seed)"
        if protocol.goal_source == "random_state"
        else f"goal source {protocol.goal_source}, {protocol.goal_steps} steps,"
    )
    meets = protocol.oracle_meets.replace(" the oracle's last step", " the oracle's last step within the budget")
    return f"{drawn} for consecutive seeds (last one excluded); kept when no predicate holds at the start and {meets}"
