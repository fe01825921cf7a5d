"""``jepawm-bench data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Data sets for training.", no_args_is_help=True)


@app.command()
def collect(
    env: Annotated[str, typer.Option(help="Environment id.")],
    out: Annotated[Path, typer.Option(help="File or folder to write.")],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to record.")] = 1920,
    steps: Annotated[int, typer.Option(min=1, help="Environment steps of an episode.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Of starts and actions.")] = 0,
    image_size: Annotated[int, typer.Option(min=8, help="Height and width of stored images.")] = 64,
) -> int:
    """Record episodes with the environment's scripted policy."""
    from jepawm_bench.threads import limit_threads

    limit_threads()
    from jepawm_bench.cli.progress import steps_bar
    from jepawm_bench.protocols import find_env
    from jepawm_envs import data

    env_id = find_env(env)
    with steps_bar("episodes") as progress:
        path = data.collect(
            env_id, out, episodes=episodes, steps=steps, seed=seed, image_size=image_size, progress=progress
        )
    typer.echo(f"{episodes} episodes written to {path}")
    return 0


@app.command()
def info(path: Annotated[Path, typer.Argument(help="A data set.")]) -> int:
    """Say what is in a data set."""
    from jepawm_envs import data

    for key, value in data.info(path).items():
        typer.echo(f"{key}: {value}")
    return 0
