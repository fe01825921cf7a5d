"""``jepawm-bench tasks``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepawm_bench.errors import UsageError

app = typer.Typer(help="Frozen task lists.", no_args_is_help=True)


@app.command()
def make(
    env: Annotated[str, typer.Option(help="Environment id.")],
    split: Annotated[str, typer.Option(help="dev or test.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    protocol: Annotated[str, typer.Option(help="A protocol with frozen tasks.")] = "standard",
    count: Annotated[int | None, typer.Option(help="Tasks; the protocol's number when missing.")] = None,
) -> int:
    """Make a manifest; the same command gives the same file."""
    from jepawm_bench.cli.progress import steps_bar
    from jepawm_bench.manifest_maker import make_manifest
    from jepawm_bench.protocols import find_env, find_protocol

    found = find_protocol(protocol, find_env(env))
    if not found.frozen:
        raise UsageError(f"Protocol {protocol!r} draws its tasks from the seed; it has no manifest.")
    if count is not None and count < 1:
        raise UsageError(f"--count {count} is not possible; ask for at least one task.")
    if out.exists():
        raise UsageError(f"{out} exists; manifests are frozen. Choose another file with --out.")
    with steps_bar("tasks") as progress:
        manifest = make_manifest(found, split, count=count, progress=progress)
    manifest.write(out)
    typer.echo(f"{len(manifest.tasks)} tasks, sha256 {manifest.sha256[:12]}, written to {out}")
    return 0


@app.command()
def show(file: Annotated[Path, typer.Argument(help="A manifest.")]) -> int:
    """Check a manifest and say what is in it."""
    from jepawm_bench.manifests import load_manifest

    manifest = load_manifest(file)
    header = manifest.header
    typer.echo(f"{header['name']} version {header['version']}: {len(manifest.tasks)} tasks on {header['env']}")
    typer.echo(f"protocol {header['protocol']}, {header['split']}, {header['budget']} steps; sha256 {manifest.sha256}")
    for title in ("bins", "attrition", "generator"):
        typer.echo(f"{title}: " + "; ".join(f"{key} {value}" for key, value in header[title].items()))
    for rule in header["predicates"]:
        limits = ", ".join(f"{quantity} < {limit}" for quantity, limit in rule["limits"].items())
        typer.echo(f"predicate {rule['id']}: {limits}")
    return 0
