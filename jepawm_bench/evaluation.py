"""Episodes in, a scored run out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jepawm_bench import provenance
from jepawm_bench.agent import Agent, AgentCard
from jepawm_bench.devices import choose_device
from jepawm_bench.errors import AgentFailed, DamagedRun, UsageError
from jepawm_bench.files import write_atomic, write_json
from jepawm_bench.locks import locked
from jepawm_bench.player import Conditions, Player
from jepawm_bench.protocols import Protocol
from jepawm_bench.registry import load_registry
from jepawm_bench.results import EpisodeRecord, RunResult, Trace
from jepawm_bench.run_folder import FORMAT, RunFolder, attempt
from jepawm_bench.run_spec import RunSpec, resolve
from jepawm_bench.summary import summarise
from jepawm_bench.task_lists import load_tasks
from jepawm_bench.tasks import Task, tasks_hash
from jepawm_bench.threads import available_cores
from jepawm_bench.workers import Crew, InProcess, hire

Progress = Callable[[int, int, int], None]
"""Called with the numbers of finished episodes, of all episodes, and of successes."""


@dataclass(frozen=True)
class Effort:
    """How a run is carried out; nothing here changes a record (except its seconds)."""

    device: str = "cpu"
    workers: int = 1
    batch: int = 1

    @classmethod
    def choose(cls, device: str, episodes: int, workers: int | None, batch: int | None) -> Effort:
        """Defaults for a device: every core and single episodes on a CPU, one process and big batches on a GPU.

        Raises:
            UsageError: for less than one worker or episode a batch.
        """
        for name, value in (("--workers", workers), ("--batch", batch)):
            if value is not None and value < 1:
                raise UsageError(f"{name} {value} is not possible; it must be at least 1.")
        on_gpu = device == "cuda"
        batch = batch or (16 if on_gpu else 1)
        workers = workers or (1 if on_gpu else available_cores())
        return cls(device, max(1, min(workers, -(-episodes // batch))), batch)


def evaluate(
    agent: str | Agent,
    env_id: str,
    protocol: str = "paper",
    episodes: int | None = None,
    seed: int = 1,
    *,
    settings: Mapping[str, Any] | None = None,
    split: str = "test",
    device: str = "auto",
    workers: int | None = 1,
    batch: int | None = None,
    weights: str | None = None,
    out: Path | None = None,
    resume: bool = False,
    progress: Progress = lambda done, total, successes: None,
) -> RunResult:
    """Score an agent.

    Args:
        agent: a name of the catalogue, ``name`` or ``name@variant``, or an object that plays.
        env_id: the environment.
        protocol: ``paper`` or ``standard``.
        episodes: the protocol's number when None.
        seed: of the run.
        settings: nested overrides of the agent's settings, for a name.
        split: of a frozen task list.
        device: ``auto``, ``cpu`` or ``cuda``, for a name.
        workers: processes, for a name; one a core when None. More than one needs a main module that can be
            imported.
        batch: episodes planned together; 1 on a CPU and 16 on a GPU when None.
        weights: a file to use instead of the agent's own, for a name.
        out: run folder to write; nothing is written when None.
        resume: continue the run in ``out``.
        progress: called after every episode.

    Raises:
        BenchError: a sentence about what is wrong.
    """
    card, variant = _card(agent)
    if not isinstance(agent, str):
        _refuse_for_object({"settings": settings, "weights": weights, "workers": workers, "device": device})
    asked = {"variant": variant, "env": env_id, "protocol": protocol, "split": split, "seed": seed}
    spec, rules = resolve(card, **asked, episodes=episodes, overrides=settings, weights=weights)
    effort = Effort.choose(choose_device(device, card), spec.episodes, workers, batch)

    def crew(conditions: Conditions) -> AbstractContextManager[Crew]:
        if isinstance(agent, str):
            return hire(spec.request(card, effort.device), conditions, effort.workers)
        return nullcontext(InProcess(Player(agent, conditions)))

    return perform(spec, rules, card, crew, effort, out=out, resume=resume, progress=progress)


def perform(
    spec: RunSpec,
    protocol: Protocol,
    card: AgentCard,
    crew: Callable[[Conditions], AbstractContextManager[Crew]],
    effort: Effort,
    *,
    out: Path | None,
    resume: bool,
    progress: Progress,
) -> RunResult:
    """Play what is left of a run and finish it; see :func:`evaluate` for arguments and errors."""
    folder = RunFolder(out) if out is not None else None
    if folder is None:
        return _perform(spec, protocol, card, crew, effort, None, progress)
    if not folder.path.is_dir():
        folder.check_startable(resume)
    with locked(folder.path):
        folder.check_startable(resume)
        return _perform(spec, protocol, card, crew, effort, folder, progress)


def _perform(
    spec: RunSpec,
    protocol: Protocol,
    card: AgentCard,
    crew: Callable[[Conditions], AbstractContextManager[Crew]],
    effort: Effort,
    folder: RunFolder | None,
    progress: Progress,
) -> RunResult:
    tasks = load_tasks(protocol, episodes=spec.episodes, seed=spec.seed, split=spec.split or "test")
    digest = tasks_hash(tasks)
    conditions = Conditions(spec.agent, spec.env, protocol.budget, spec.seed, protocol.env_settings)
    try:
        with crew(conditions) as players:
            run = describe(spec, protocol, card, effort, digest, players.provenance())
            records, traces = _begin(folder, run, tasks)
            progress(len(records), len(tasks), sum(record.success for record in records))
            done = {record.episode for record in records}
            batches = _split([task for task in tasks if task.index not in done], effort.batch)
            for finished in (episode for batch in players.play(batches) for episode in batch):
                if folder:
                    folder.append(finished)
                records.append(finished.record)
                traces[finished.record.episode] = finished.trace
                progress(len(records), len(tasks), sum(record.success for record in records))
    except AgentFailed as error:
        if folder and folder.run_file.is_file() and error.trace:
            write_atomic(folder.path / "error.log", error.trace.encode())
        raise
    return _end(folder, run, spec, records, traces, digest)


def describe(
    spec: RunSpec,
    protocol: Protocol,
    card: AgentCard,
    effort: Effort,
    tasks_sha256: str,
    crew_provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``run.json`` at the start. ``identity`` is what a resumed run must have in common."""
    own = dict(crew_provenance.get("agent", {}))
    identity = {
        key: getattr(spec, key)
        for key in ("agent", "variant", "env", "protocol", "split", "seed", "episodes", "settings")
    }
    encoder = {"encoder_sha256": own["encoder_sha256"]} if "encoder_sha256" in own else {}
    run = {
        "format": FORMAT,
        "identity": {**identity, "tasks_sha256": tasks_sha256, "weights_sha256": own.get("weights_sha256"), **encoder},
        "card": {key: getattr(card, key) for key in ("name", "factory", "description", "kind", "requires")},
        "label": spec.full_label(own.get("weights_sha256")),
        "overrides": spec.overrides,
        "weights": spec.weights,
        "command": spec.command,
        "protocol": asdict(protocol),
        "agent": own,
        "effort": asdict(effort),
        "versions": {**provenance.versions(), "torch": crew_provenance.get("torch")},
        "source": provenance.commit(),
        "machine": provenance.machine(),
        "started": provenance.now(),
        "finished": None,
    }
    return {**run, "attempts": [attempt(run)]}


def _begin(
    folder: RunFolder | None, run: Mapping[str, Any], tasks: Sequence[Task]
) -> tuple[list[EpisodeRecord], dict[int, Trace]]:
    """Open the folder; what earlier attempts finished."""
    if folder is None:
        return [], {}
    folder.start(run)
    records = folder.read_records(drop_torn_line=True)
    for line, record in enumerate(records, start=1):
        task = tasks[record.episode] if 0 <= record.episode < len(tasks) else None
        if task is None or (task.init_state, task.goal_state) != (record.init_state, record.goal_state):
            raise DamagedRun(
                f"{folder.episodes_file}, line {line}: episode {record.episode} is not a task of this run."
            )
    return records, folder.read_traces(records)


def _end(
    folder: RunFolder | None,
    run: Mapping[str, Any],
    spec: RunSpec,
    records: list[EpisodeRecord],
    traces: dict[int, Trace],
    digest: str,
) -> RunResult:
    ordered = tuple(sorted(records, key=lambda record: record.episode))
    if folder and folder.complete:
        return RunResult(folder.read_summary(), ordered, traces, folder.path)
    summary = summarise(spec, ordered, digest)
    if folder:
        write_json(folder.run_file, {**folder.read_run(), "finished": provenance.now()})
        folder.finish(list(ordered), traces, summary)
    return RunResult(summary, ordered, traces, folder.path if folder else None)


def _split(tasks: Sequence[Task], size: int) -> list[Sequence[Task]]:
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def _refuse_for_object(given: Mapping[str, Any]) -> None:
    """An object is made already and plays in this process: what a factory would be told cannot reach it."""
    harmless = {"settings": (None, {}), "weights": (None,), "workers": (None, 1), "device": ("auto",)}
    useless = [name for name, value in given.items() if value not in harmless[name]]
    if useless:
        raise UsageError(
            f"evaluate() was given an agent object and {', '.join(useless)}, which are for agents of the catalogue "
            "alone; set up the object itself."
        )


def _card(agent: str | Agent) -> tuple[AgentCard, str | None]:
    """The card of a name or an object, and the variant asked for."""
    if not isinstance(agent, str):
        return AgentCard(type(agent).__name__, "object:object", variants={"object": {}}), None
    name, _, variant = agent.partition("@")
    return load_registry().card(name), variant or None
