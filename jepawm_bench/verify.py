"""Does a run folder hold what it claims? Recomputes, replays, and plans again.

Three layers, each catching what the one before cannot: scores are recomputed from the traces (a forged score),
actions are replayed in the simulator (a forged trace), and the agent plans again (forged actions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from jepawm_bench.errors import DamagedRun, UsageError
from jepawm_bench.player import Conditions, Player
from jepawm_bench.protocols import find_protocol
from jepawm_bench.registry import load_registry, make_agent
from jepawm_bench.results import EpisodeRecord, Finished, Trace
from jepawm_bench.rollout import Rollout
from jepawm_bench.run_folder import RunFolder
from jepawm_bench.run_spec import RunSpec
from jepawm_bench.scoring import score
from jepawm_bench.summary import summarise
from jepawm_bench.task_lists import load_tasks
from jepawm_bench.tasks import Task, make_world, tasks_hash

EXACT, SAME_OUTCOME, DIFFERENT = "exact", "same outcome", "different"


@dataclass(frozen=True)
class Verdict:
    """What a repetition of one episode gave."""

    episode: int
    how: str
    """``replayed`` or ``planned again``."""
    verdict: str


@dataclass(frozen=True)
class Verification:
    """What was found."""

    episodes: int
    """Whose scores were recomputed."""
    problems: tuple[str, ...]
    """Contradictions inside the folder, each a sentence."""
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is forged and no repetition ended differently."""
        return not self.problems and all(verdict.verdict != DIFFERENT for verdict in self.verdicts)


@dataclass(frozen=True)
class Claims:
    """A finished run as its folder tells it."""

    spec: RunSpec
    identity: Mapping[str, Any]
    summary: Mapping[str, Any]
    records: Sequence[EpisodeRecord]
    traces: Mapping[int, Trace]


def read_claims(path: Path) -> Claims:
    """Read a finished run.

    Raises:
        UsageError: when there is none.
        DamagedRun: when a file is not what it should be.
    """
    folder = RunFolder(path)
    run, summary = folder.read_run(), folder.read_summary()
    identity, names = run["identity"], ("agent", "variant", "env", "protocol", "split", "seed", "episodes", "settings")
    try:
        fields = {name: identity[name] for name in names}
        spec = RunSpec(**fields, kind=run["card"]["kind"], overrides=run["overrides"], weights=run["weights"])
    except (KeyError, TypeError) as error:
        raise DamagedRun(f"{folder.run_file} lacks {error}.") from error
    records = folder.read_records()
    return Claims(spec, identity, summary, records, folder.read_traces(records))


def verify(path: Path, *, episodes: int | None = 3, replan: bool = False, device: str = "cpu") -> Verification:
    """Check a run folder.

    Args:
        path: of a finished run.
        episodes: how many to replay, spread over the run; all when None.
        replan: let the agent plan them again too.
        device: for planning again.

    Raises:
        UsageError: when there is no finished run, or the agent that should plan again has other weights now.
        DamagedRun: when it cannot even be read.
    """
    claims = read_claims(path)
    protocol = find_protocol(claims.spec.protocol, claims.spec.env)
    tasks = load_tasks(
        protocol, episodes=claims.spec.episodes, seed=claims.spec.seed, split=claims.spec.split or "test"
    )
    problems = [*_check_tasks(claims, tasks), *_check_scores(claims), *_check_summary(claims, tasks)]
    verdicts: list[Verdict] = []
    if not problems:
        chosen = _spread(claims.records, episodes)
        verdicts = [_replay(claims, tasks, record, protocol.budget) for record in chosen]
        if replan:
            verdicts += _plan_again(claims, tasks, chosen, protocol.budget, device)
    return Verification(len(claims.records), tuple(problems), tuple(verdicts))


def _check_tasks(claims: Claims, tasks: Sequence[Task]) -> Iterator[str]:
    if claims.identity.get("tasks_sha256") != tasks_hash(tasks):
        yield "run.json: the task hash is not that of the protocol's tasks."
    if [record.episode for record in claims.records] != [task.index for task in tasks]:
        yield f"episodes.jsonl: the episodes are not 0 to {len(tasks) - 1}, each once and in order."
        return
    for record, task in zip(claims.records, tasks, strict=True):
        stated = (record.seed, record.bin, record.init_state, record.goal_state)
        if stated != (task.seed, task.bin, task.init_state, task.goal_state):
            yield f"Episode {record.episode}: seed, bin or states are not those of the task."


def _check_scores(claims: Claims) -> Iterator[str]:
    env = make_world(claims.spec.env)
    for record in claims.records:
        trace = claims.traces[record.episode]
        states, steps = trace["states"], len(trace["actions"])
        if len(states) != steps + 1 or record.steps != steps or states[0].tolist() != list(record.init_state):
            yield f"Episode {record.episode}: the trace does not start at the task's state or has another length."
            continue
        result = score(env, states, record.goal_state)
        main = next(iter(result.predicates.values()))
        truth = {
            "success": main.final,
            "success_any": main.any,
            "steps_to_success": main.steps_to_success,
            "final_distance": result.final_distance,
            "min_distance": result.min_distance,
            "predicates": result.predicates,
        }
        for name, value in truth.items():
            if getattr(record, name) != value:
                stated = getattr(record, name) if name != "predicates" else "something else"
                yield f"Episode {record.episode}: {name} is not {stated} by its trace."


def _check_summary(claims: Claims, tasks: Sequence[Task]) -> Iterator[str]:
    if not claims.records:
        return
    truth = summarise(claims.spec, claims.records, tasks_hash(tasks))
    for name in sorted(truth.keys() | claims.summary.keys()):
        if truth.get(name) != claims.summary.get(name):
            yield f"summary.json: {name} does not follow from the episodes."


def _replay(claims: Claims, tasks: Sequence[Task], record: EpisodeRecord, budget: int) -> Verdict:
    env = gymnasium.make(
        claims.spec.env, obs_type="state", render_mode=None, max_episode_steps=budget, disable_env_checker=True
    )
    rollout = Rollout(env, tasks[record.episode])
    trace = claims.traces[record.episode]
    rollout.execute(trace["actions"])
    if np.array_equal(np.stack(rollout.states), trace["states"]) and rollout.reward == record.return_:
        return Verdict(record.episode, "replayed", EXACT)
    result = score(env.unwrapped, np.stack(rollout.states), record.goal_state)
    same = {name: value.final for name, value in result.predicates.items()} == _finals(record)
    return Verdict(record.episode, "replayed", SAME_OUTCOME if same else DIFFERENT)


def _plan_again(
    claims: Claims, tasks: Sequence[Task], records: Sequence[EpisodeRecord], budget: int, device: str
) -> list[Verdict]:
    spec = claims.spec
    agent = make_agent(spec.request(load_registry().card(spec.agent), device))
    player = Player(agent, Conditions(spec.agent, spec.env, budget, spec.seed))
    now, then = player.provenance["agent"].get("weights_sha256"), claims.identity.get("weights_sha256")
    if now != then:
        raise UsageError(
            f"{spec.agent} has other weights now ({str(now)[:12]}) than in this run ({str(then)[:12]}), "
            "so it cannot plan the same again; verify without --agent."
        )
    verdicts = []
    for record in records:
        (finished,) = player.play([tasks[record.episode]])
        verdicts.append(Verdict(record.episode, "planned again", _compare(finished, record, claims)))
    return verdicts


def _compare(finished: Finished, record: EpisodeRecord, claims: Claims) -> str:
    trace = claims.traces[record.episode]
    if all(np.array_equal(finished.trace[name], trace[name]) for name in ("states", "actions")):
        return EXACT
    return SAME_OUTCOME if _finals(finished.record) == _finals(record) else DIFFERENT


def _finals(record: EpisodeRecord) -> dict[str, bool]:
    return {name: value.final for name, value in record.predicates.items()}


def _spread(records: Sequence[EpisodeRecord], wanted: int | None) -> list[EpisodeRecord]:
    if wanted is None or wanted >= len(records):
        return list(records)
    return [records[k * (len(records) - 1) // max(1, wanted - 1)] for k in range(wanted)]
