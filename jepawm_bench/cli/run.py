"""``jepawm-bench run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepawm_bench.errors import UsageError

if TYPE_CHECKING:
    from jepawm_bench.results import RunResult
    from jepawm_bench.run_spec import RunSpec

Agent = Annotated[str, typer.Option("--agent", help="NAME or NAME@VARIANT; see 'list agents'.")]
Env = Annotated[str | None, typer.Option("--env", help="Environment id; the agent's own when missing.")]
ProtocolName = Annotated[str, typer.Option("--protocol", help="paper or standard.")]
Split = Annotated[str, typer.Option(help="dev or test tasks, where they are frozen.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")]


def run(
    agent: Agent,
    env: Env = None,
    protocol: ProtocolName = "paper",
    split: Split = "test",
    episodes: Annotated[int | None, typer.Option(help="The protocol's number when missing.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the run; the protocol's when missing.")] = None,
    planner: Annotated[str | None, typer.Option(help="Same as --set planner.name=...")] = None,
    objective: Annotated[str | None, typer.Option(help="L1, L2 or cos; same as --set objective.name=...")] = None,
    settings: Set = None,
    weights: Annotated[Path | None, typer.Option(help="A weights file instead of the agent's own.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core when missing.")] = None,
    batch: Annotated[int | None, typer.Option(help="Episodes planned together; 1 on a CPU, 16 on a GPU.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/... when missing.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    video: Annotated[int, typer.Option(help="Write films of the first N episodes.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one line of JSON.")] = False,
) -> int:
    """Score an agent on an environment."""
    from jepawm_bench.threads import limit_threads

    limit_threads()
    from jepawm_bench.registry import load_registry
    from jepawm_bench.run_folder import default_folder
    from jepawm_bench.run_spec import folder_name, resolve

    if video < 0:
        raise UsageError(f"--video {video} is not possible; it is a number of episodes.")
    name, _, variant = agent.partition("@")
    asked = {"variant": variant or None, "env": env, "protocol": protocol, "split": split, "seed": seed}
    overrides = _overrides(planner, objective, settings)
    weights_file = str(weights) if weights else None
    card = load_registry().card(name)
    spec, rules = resolve(card, **asked, episodes=episodes, overrides=overrides, weights=weights_file)
    folder = out or default_folder(Path("runs") / folder_name(spec, card, rules), resume)
    how = {"split": split, "device": device, "workers": workers, "batch": batch, "out": folder, "resume": resume}
    result = _play(spec, how, video)
    if result is None:
        return 130
    _show(result, as_json)
    return 0


def _play(spec: RunSpec, how: dict[str, Any], video: int) -> RunResult | None:
    """Play with a progress bar; None when interrupted."""
    from jepawm_bench.cli.progress import episodes_bar
    from jepawm_bench.evaluation import evaluate
    from jepawm_bench.run_folder import RunFolder

    agent = f"{spec.agent}@{spec.variant}"
    how = {"settings": spec.overrides, "weights": spec.weights, **how}
    try:
        with episodes_bar(f"{spec.agent}@{spec.label}") as told:
            result = evaluate(agent, spec.env, spec.protocol, spec.episodes, spec.seed, progress=told, **how)
        _films(result, video)
    except KeyboardInterrupt:
        kept = RunFolder(how["out"]).finished
        typer.echo(
            f"Interrupted: {kept} of {spec.episodes} episodes are finished and kept in {how['out']}. "
            "Repeat the command with --resume to continue.",
            err=True,
        )
        return None
    return result


def _overrides(planner: str | None, objective: str | None, assignments: list[str] | None) -> dict[str, Any]:
    from jepawm_bench.settings import merge, parse_overrides

    named = {key: {"name": value} for key, value in (("planner", planner), ("objective", objective)) if value}
    return merge(named, parse_overrides(assignments or []))


def _films(result: RunResult, number: int) -> None:
    if number:
        from jepawm_bench.films import write_films

        write_films(result, number)


def _show(result: RunResult, as_json: bool) -> None:
    from jepawm_bench.cli.tables import print_table

    summary = result.summary
    if as_json:
        typer.echo(json.dumps(summary, allow_nan=False))
        return
    groups = {"all": summary, **summary["bins"]}
    rows = [
        (
            name,
            group["n"],
            f"{100 * group['success_rate']:.1f}",
            f"{100 * group['ci_low']:.1f} to {100 * group['ci_high']:.1f}",
            f"{100 * group['success_any_rate']:.1f}",
        )
        for name, group in groups.items()
    ]
    title = (
        f"{summary['agent']}@{summary['variant']} on {summary['env']}, {summary['protocol']}, seed {summary['seed']}"
    )
    print_table(title, ("tasks", "n", "success %", "95 % interval", "any time %"), rows)
    for name, rates in summary["predicates"].items():
        typer.echo(
            f"{name}: {100 * rates['final_rate']:.1f} % at the end, {100 * rates['any_rate']:.1f} % at any time, "
            f"{100 * rates['hold_rate']:.1f} % held"
        )
    typer.echo(
        f"median final distance {summary['median_final_distance']:.2f}, "
        f"{summary['plan_seconds_mean']:.2f} s planning an episode; written to {result.path}"
    )
    disowned = None if result.path is None else _disowned(result.path)
    if disowned:
        typer.echo(f"Not a result to rank: {disowned}")
    if result.path is not None and _attempts_differ(result.path):
        typer.echo(
            "This run was resumed with other versions or another commit than it was begun with; "
            f"see 'attempts' in {result.path / 'run.json'}."
        )


def _disowned(path: Path) -> str | None:
    """Why the agent itself says that this is no result of its kind."""
    from jepawm_bench.run_folder import RunFolder

    return (RunFolder(path).read_run().get("agent") or {}).get("unranked")


def _attempts_differ(path: Path) -> bool:
    from jepawm_bench.run_folder import RunFolder

    attempts = RunFolder(path).read_run().get("attempts") or []
    return any(
        (each["versions"], each["source"]) != (attempts[0]["versions"], attempts[0]["source"]) for each in attempts
    )
