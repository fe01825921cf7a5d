"""``jepawm-bench data``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Data sets for training.", no_args_is_help=True)

EPISODES_A_WORKER = 64
"""Starting another process takes as long as some episodes."""

READ_ONLY = "every episode can be read; this format has no hashes, so values that changed may go unnoticed"

NOT_OF_AN_EXPORT = {
    "image_size": "--image-size",
    "episodes": "--episodes",
    "on_error": "--on-error",
    "codec": "--codec",
    "workers": "--workers",
    "settings": "--set",
}
"""Options of a conversion to a store alone ..."""
HONOURED = {"on_error": "raise", "workers": 1}
"""... but for these values, which an export has."""


@app.command()
def collect(
    env: Annotated[str, typer.Option(help="Environment id.")],
    out: Annotated[Path, typer.Option(help="Folder to write, or an .h5 file.")],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to record.")] = 1920,
    steps: Annotated[int, typer.Option(min=1, help="Environment steps of an episode.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Of starts and actions.")] = 0,
    image_size: Annotated[int, typer.Option(min=8, help="Height and width of stored images.")] = 64,
    frameskip: Annotated[int, typer.Option(min=1, help="Keep every k-th frame, k actions in one row.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; the data do not depend on it. All cores when missing.")
    ] = None,
    codec: Annotated[str | None, typer.Option(help="raw, deflate (default), png or jpeg; for folders.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Argument of the environment; repeatable.")
    ] = None,
) -> int:
    """Record episodes with the environment's scripted policy; continues what was interrupted."""
    from jepawm_bench.threads import available_cores, limit_threads

    limit_threads()
    from jepawm_bench.cli.progress import steps_bar
    from jepawm_bench.protocols import find_env
    from jepawm_bench.settings import parse_overrides
    from jepawm_envs import data

    env_id = find_env(env)
    hands = workers or min(available_cores(), -(-episodes // EPISODES_A_WORKER))
    try:
        with steps_bar("episodes") as progress:
            path = data.collect(
                env_id,
                out,
                episodes=episodes,
                steps=steps,
                seed=seed,
                image_size=image_size,
                workers=hands,
                codec=codec,
                settings=parse_overrides(settings or []),
                frameskip=frameskip,
                progress=progress,
            )
    except KeyboardInterrupt:
        return _interrupted()
    typer.echo(f"{episodes} episodes written to {path}")
    return 0


@app.command()
def convert(
    context: typer.Context,
    source: Annotated[str, typer.Option("--from", help="The data set; for minari its identifier.")],
    out: Annotated[str, typer.Option(help="Folder to write; with --to minari an identifier.")],
    layout: Annotated[str, typer.Option(help="Layout of the data set, see 'list datasets'.")] = "store",
    to: Annotated[
        str, typer.Option(help="store, or minari for a data set of this package, whole and as it is.")
    ] = "store",
    image_size: Annotated[int | None, typer.Option(min=8, help="Resize images; as recorded when missing.")] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    on_error: Annotated[str, typer.Option(help="At a damaged episode: raise or skip.")] = "raise",
    codec: Annotated[str, typer.Option(help="How frames are kept: raw, deflate, png or jpeg.")] = "deflate",
    workers: Annotated[int, typer.Option(min=1, help="Processes that read; the store does not depend on it.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the layout; repeatable.")
    ] = None,
) -> int:
    """Turn a published data set into a store, or a store into a Minari data set."""
    from jepawm_bench.cli.progress import steps_bar
    from jepawm_bench.errors import UsageError
    from jepawm_bench.settings import parse_overrides
    from jepawm_envs import data

    if to not in ("store", "minari") or (to == "minari" and layout != "store"):
        raise UsageError(f"--to {to} from --layout {layout} is not possible; Minari data sets are made from stores.")
    if to == "minari":
        return _export(context, source, out)
    options = parse_overrides(settings or [])
    left_out: list[data.LeftOut] = []
    try:
        with steps_bar("episodes") as progress:
            path = data.convert(
                layout,
                source,
                out,
                codec=codec,
                on_error=on_error,  # type: ignore[arg-type]
                episodes=episodes,
                workers=workers,
                image_size=image_size,
                progress=progress,
                report=left_out.append,
                **options,
            )
    except KeyboardInterrupt:
        return _interrupted()
    for episode in left_out:
        typer.echo(f"left out: {episode.source}: {episode.why}", err=True)
    typer.echo(f"written to {path}" + (f", {len(left_out)} episodes left out" if left_out else ""))
    return 0


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A data set.")],
    check: Annotated[
        bool, typer.Option("--check", help="Read everything and compare it with its hashes; an .h5 file has none.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Say what is in a data set."""
    from jepawm_bench.errors import BenchError
    from jepawm_envs import data

    summary = data.info(path)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        for key, value in summary.items():
            typer.echo(f"{key}: {value}")
    if check:
        with data.EpisodeStore(path) as store:
            damaged, hashed = store.verify(), store.hashed
        if damaged:
            raise BenchError(f"{path} is damaged in the episodes {damaged}; make it again.")
        typer.echo("every episode is intact" if hashed else READ_ONLY, err=as_json)
    return 0


@app.command()
def preview(
    path: Annotated[Path, typer.Argument(help="A data set.")],
    out: Annotated[Path, typer.Option(help="A sheet (.png) or a film (.gif).")],
    episodes: Annotated[int, typer.Option(min=1, help="How many, evenly spaced.")] = 8,
    frames: Annotated[int, typer.Option(min=1, help="Frames in a row of the sheet.")] = 10,
) -> int:
    """Draw a contact sheet or a film of a data set."""
    from jepawm_envs import data

    typer.echo(f"written to {data.preview(path, out, episodes=episodes, frames=frames)}")
    return 0


def _export(context: typer.Context, source: str, name: str) -> int:
    """Write a store into Minari's folder.

    Raises:
        UsageError: for options that an export has not.
    """
    from jepawm_bench.cli.progress import steps_bar
    from jepawm_bench.errors import UsageError
    from jepawm_envs import data

    given = [flag for name, flag in NOT_OF_AN_EXPORT.items() if _is_given(context, name)]
    if given:
        raise UsageError(
            f"--to minari writes a store whole and as it is, without {', '.join(given)}; convert to a store with "
            "these first, and that one to Minari."
        )
    try:
        with steps_bar("episodes") as progress, data.EpisodeStore(source) as store:
            path = data.export_minari(store, name, progress=progress)
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written to Minari. The same command starts from the beginning.", err=True)
        return 130
    typer.echo(f"written to {path}")
    return 0


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether an option was given, and not with the value that an export has anyway."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT" and context.params[name] != HONOURED.get(name)


def _interrupted() -> int:
    typer.echo("Interrupted; what is finished is kept. The same command continues.", err=True)
    return 130
