"""The tasks that a run plays."""

from __future__ import annotations

from jepawm_bench.errors import BenchError, UsageError
from jepawm_bench.manifests import packaged_manifest
from jepawm_bench.protocols import Protocol
from jepawm_bench.scoring import predicates_json
from jepawm_bench.tasks import Task, make_world, sample_task


def published_seed(seed: int, episode: int) -> int:
    """Seed of one episode's task as in the reference (``plan_evaluator.py:469``, one process)."""
    return seed * (seed + episode) % (2**32 - 2)


def load_tasks(protocol: Protocol, *, episodes: int | None, seed: int, split: str) -> list[Task]:
    """The first ``episodes`` tasks of a protocol (its default number when None).

    Raises:
        UsageError: for fewer than one episode or more than a manifest has, or an unknown split, or seed 0
            where the seed makes the tasks.
        DamagedManifest: when the packaged manifest was changed.
    """
    if episodes is not None and episodes < 1:
        raise UsageError(f"--episodes {episodes} is not possible; ask for at least one.")
    if seed < 0:
        raise UsageError(f"--seed {seed} is not possible; seeds start at 0.")
    if seed == 0 and not protocol.frozen:
        raise UsageError(
            f"--seed 0 is not possible under protocol {protocol.name!r}: its seed rule would play one task "
            "again and again; seeds start at 1."
        )
    wanted = episodes or protocol.episodes
    return _frozen(protocol, wanted, split) if protocol.frozen else _sampled(protocol, wanted, seed)


def _sampled(protocol: Protocol, episodes: int, seed: int) -> list[Task]:
    env = make_world(protocol.env_id, protocol.env_settings)
    return [sample_task(env, protocol, index, published_seed(seed, index)) for index in range(episodes)]


def _frozen(protocol: Protocol, episodes: int, split: str) -> list[Task]:
    manifest = packaged_manifest(protocol, split)
    if episodes > len(manifest.tasks):
        raise UsageError(
            f"--episodes {episodes} is more than the {len(manifest.tasks)} tasks of {protocol.name}/{split}."
        )
    rules = predicates_json(make_world(protocol.env_id).predicates)
    if rules != manifest.header["predicates"]:
        raise BenchError(
            f"The predicates of {protocol.env_id} are not those that {manifest.header['name']} was frozen with. "
            "A changed predicate needs a new version, and the manifest a new one too."
        )
    return list(manifest.tasks[:episodes])
