"""Does a run folder hold what it claims? Recomputes, replays, and plans again.

Three layers, each catching what the one before cannot: scores are recomputed from the traces (a forged score),
actions are replayed in the simulator (a forged trace), and the agent plans again (forged actions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_bench.canonical import canonical_json, sha256
from jepawm_bench.errors import DamagedRun, UsageError
from jepawm_bench.player import Conditions, Player
from jepawm_bench.protocols import Protocol, find_protocol
from jepawm_bench.registry import load_registry, make_agent
from jepawm_bench.results import EpisodeRecord, Finished, Trace
from jepawm_bench.rollout import Rollout
from jepawm_bench.run_folder import RunFolder
from jepawm_bench.run_spec import RunSpec, resolve
from jepawm_bench.scoring import score
from jepawm_bench.summary import summarise
from jepawm_bench.task_lists import load_tasks
from jepawm_bench.tasks import Task, make_world, tasks_hash

EXACT, SAME_OUTCOME, DIFFERENT = "exact", "same outcome", "different"
TOLERANCE = 1e-6
"""How far a replayed state, distance or return may lie from the stored one, in the environment's units."""


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
    notes: tuple[str, ...] = ()
    """What could not be checked, each a sentence."""

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
    unranked: str | None = None
    """Why the agent itself says that this is no result of its kind, ``None`` when it does not."""

    @property
    def label(self) -> str:
        """Variant, overrides and chosen weights."""
        return self.spec.full_label(self.identity.get("weights_sha256"))


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
    return Claims(
        spec, identity, summary, records, folder.read_traces(records), (run.get("agent") or {}).get("unranked")
    )


def verify(
    path: Path,
    *,
    episodes: int | None = None,
    replan: bool = False,
    replan_episodes: int | None = 3,
    device: str = "cpu",
) -> Verification:
    """Check a run folder.

    Args:
        path: of a finished run.
        episodes: how many to replay, drawn by a hash of the claims and from the successes first; all when None.
        replan: let the agent plan again too.
        replan_episodes: how many it plans again, spread over the run; all when None.
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
    world = make_world(claims.spec.env, protocol.env_settings)
    kept, notes = _check_card(claims)
    problems = [
        *kept,
        *_check_tasks(claims, tasks),
        *_check_scores(claims, protocol.budget, world),
        *_check_summary(claims, tasks),
    ]
    verdicts: list[Verdict] = []
    if not problems:
        replayed = _suspects(claims, episodes)
        verdicts = [_replay(world, claims, tasks[record.episode], record) for record in replayed]
        if replan:
            planned = _spread(claims.records, replan_episodes)
            verdicts += _plan_again(claims, tasks, planned, protocol, device)
    return Verification(len(claims.records), tuple(problems), tuple(verdicts), tuple(notes))


def _check_card(claims: Claims) -> tuple[list[str], list[str]]:
    """Whether kind and settings are those of the catalogue; problems and notes."""
    spec, catalogue = claims.spec, load_registry()
    if spec.agent not in catalogue.cards:
        return [], [f"Agent {spec.agent!r} is not installed; its kind and settings were not checked."]
    card, problems = catalogue.cards[spec.agent], []
    if spec.kind != card.kind:
        problems.append(f"run.json: {spec.agent} is called {spec.kind!r} and is {card.kind!r} in the catalogue.")
    try:
        now, _ = resolve(
            card,
            variant=spec.variant,
            env=spec.env,
            protocol=spec.protocol,
            seed=spec.seed,
            overrides=spec.overrides,
        )
    except UsageError as error:
        return [*problems, f"run.json: not a run of the catalogue. {error}"], []
    if canonical_json(now.settings) != canonical_json(spec.settings):
        problems.append(
            f"run.json: the settings are not those of {spec.agent}@{spec.variant} and the command's overrides."
        )
    return problems, []


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


def _check_scores(claims: Claims, budget: int, env: Any) -> Iterator[str]:
    for record in claims.records:
        trace, name = claims.traces[record.episode], f"Episode {record.episode}"
        states, actions = trace["states"], trace["actions"]
        if record.steps != budget or len(actions) != budget:
            yield (
                f"{name}: it lasts {len(actions)} actions and claims {record.steps} steps; "
                f"the protocol's budget is {budget}."
            )
            continue
        if not _begins_right(env, record, states):
            yield f"{name}: the trace does not start at the task's state or has another shape."
            continue
        if actions.shape[1:] != env.action_space.shape or not np.isfinite(actions).all():
            yield f"{name}: the trace holds actions that the environment does not take."
            continue
        if not 1 <= record.plans <= record.steps:
            yield f"{name}: {record.plans} plans cannot be; an episode of {record.steps} steps has 1 to {record.steps}."
        yield from _check_evaluations(claims, record)
        truth = _scores(env, states, record.goal_state)
        for field, value in truth.items():
            if getattr(record, field) != value:
                stated = getattr(record, field) if field != "predicates" else "something else"
                yield f"{name}: {field.rstrip('_')} is not {stated} by its trace."


def _check_evaluations(claims: Claims, record: EpisodeRecord) -> Iterator[str]:
    """Whether an episode's evaluations can be what its plans spent; only planning again tells what they did spend."""
    spent, name = record.model_evaluations, f"Episode {record.episode}"
    if not isinstance(spent, int) or isinstance(spent, bool) or spent < 0:
        yield f"{name}: {spent!r} evaluations cannot be; it is a whole number of at least 0."
        return
    limit = _planner(claims).get("max_evaluations")
    # Fewer is possible: whole gradient steps, a planner that is done earlier, an episode that has arrived.
    if isinstance(limit, int) and spent > record.plans * limit:
        yield (
            f"{name}: {spent} evaluations cannot be; its {record.plans} plans had at most {limit} each "
            "(planner.max_evaluations)."
        )


def _planner(claims: Claims) -> Mapping[str, Any]:
    """The planner's settings; none where the agent has no planner."""
    planner = claims.spec.settings.get("planner")
    return planner if isinstance(planner, Mapping) else {}


def _begins_right(env: Any, record: EpisodeRecord, states: NDArray[np.float64]) -> bool:
    """Whether a trace begins as the environment would; where only a part of states is recorded, replays tell."""
    if len(states) != record.steps + 1 or states.ndim != 2:
        return False
    if env.records_part_of_state:
        return states.shape[1:] == env.trace(np.zeros(env.state_dim)).shape
    start = np.array(record.init_state)
    return states.shape[1:] == start.shape and np.array_equal(states[0], env.start(start))


def _scores(env: Any, states: NDArray[np.float64], goal_state: Sequence[float]) -> dict[str, Any]:
    """Every field of a record that follows from its states."""
    result = score(env, states, goal_state)
    main = next(iter(result.predicates.values()))
    return {
        "success": main.final,
        "success_any": main.any,
        "steps_to_success": main.steps_to_success,
        "final_distance": result.final_distance,
        "min_distance": result.min_distance,
        "return_": float(env.rewards(states[1:], np.asarray(goal_state, dtype=np.float64)).sum()),
        "predicates": result.predicates,
    }


def _check_summary(claims: Claims, tasks: Sequence[Task]) -> Iterator[str]:
    if not claims.records:
        return
    truth = summarise(claims.spec, claims.records, tasks_hash(tasks))
    for name in sorted(truth.keys() | claims.summary.keys()):
        if truth.get(name) != claims.summary.get(name):
            yield f"summary.json: {name} does not follow from the episodes."


def _replay(env: Any, claims: Claims, task: Task, record: EpisodeRecord) -> Verdict:
    rollout = Rollout(env, task)
    trace = claims.traces[record.episode]
    rollout.execute(trace["actions"])
    states = np.stack(rollout.states)
    if np.array_equal(states, trace["states"]) and rollout.reward == record.return_:
        return Verdict(record.episode, "replayed", EXACT)
    agree = np.allclose(states, trace["states"], rtol=0, atol=TOLERANCE)
    now = {**_scores(env, states, record.goal_state), "return_": rollout.reward}
    same = agree and all(_agrees(value, getattr(record, field)) for field, value in now.items())
    return Verdict(record.episode, "replayed", SAME_OUTCOME if same else DIFFERENT)


def _agrees(now: Any, then: Any) -> bool:
    return abs(now - then) <= TOLERANCE if isinstance(now, float) else now == then


def _plan_again(
    claims: Claims, tasks: Sequence[Task], records: Sequence[EpisodeRecord], protocol: Protocol, device: str
) -> list[Verdict]:
    spec = claims.spec
    agent = make_agent(spec.request(load_registry().card(spec.agent), device))
    player = Player(agent, Conditions(spec.agent, spec.env, protocol.budget, spec.seed, protocol.env_settings))
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
    trace, now = claims.traces[record.episode], finished.record
    if now.plans != record.plans:
        return DIFFERENT
    # With a limit of time the number depends on machine and load.
    timed = _planner(claims).get("max_seconds") is not None
    if not timed and now.model_evaluations != record.model_evaluations:
        return DIFFERENT
    if all(np.array_equal(finished.trace[name], trace[name]) for name in ("states", "actions")):
        return EXACT
    return SAME_OUTCOME if _finals(now) == _finals(record) else DIFFERENT


def _finals(record: EpisodeRecord) -> dict[str, bool]:
    return {name: value.final for name, value in record.predicates.items()}


def _suspects(claims: Claims, wanted: int | None) -> list[EpisodeRecord]:
    """Episodes to replay: a draw that the claims themselves decide, so that none is safe, successes first."""
    if wanted is None or wanted >= len(claims.records):
        return list(claims.records)
    digest = sha256([record.outcome() for record in claims.records])

    def order(record: EpisodeRecord) -> tuple[bool, str]:
        return (not record.success_any, sha256([digest, record.episode]))

    return sorted(sorted(claims.records, key=order)[:wanted], key=lambda record: record.episode)


def _spread(records: Sequence[EpisodeRecord], wanted: int | None) -> list[EpisodeRecord]:
    if wanted is None or wanted >= len(records):
        return list(records)
    return [records[k * (len(records) - 1) // max(1, wanted - 1)] for k in range(wanted)]
