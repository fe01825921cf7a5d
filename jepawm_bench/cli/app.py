"""The table of commands."""

from __future__ import annotations

import typer

from jepawm_bench.cli import compare, data, doctor, leaderboard, listing, run, sweep, tasks, train, verify


def build_app() -> typer.Typer:
    """The application with every command."""
    app = typer.Typer(
        help="Plan with world models, score the plans, compare the scores.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_version)
    app.command("run")(run.run)
    app.command("list")(listing.list_)
    app.command("leaderboard")(leaderboard.leaderboard)
    app.command("compare")(compare.compare)
    app.command("verify")(verify.verify)
    app.add_typer(tasks.app, name="tasks")
    app.add_typer(data.app, name="data")
    app.command("train")(train.train)
    app.add_typer(sweep.app, name="sweep")
    app.command("doctor")(doctor.doctor)
    return app


def _show(wanted: bool) -> None:
    if wanted:
        from jepawm_bench import __version__

        typer.echo(f"jepawm-bench {__version__}")
        raise typer.Exit


def _version(
    version: bool = typer.Option(False, "--version", is_eager=True, help="Show the version.", callback=_show),
) -> None:
    """Plan with world models, score the plans, compare the scores."""
