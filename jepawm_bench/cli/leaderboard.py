"""``jepawm-bench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jepawm_bench.errors import UsageError

if TYPE_CHECKING:
    from jepawm_bench.leaderboard import Row
    from jepawm_bench.planner_study import Run

FEW = 1
"""Episodes of a run that ``--check`` replays where a simulator is slow; ``verify`` replays all."""


def leaderboard(
    env: Annotated[str | None, typer.Option(help="Only this environment.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the pages.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail if a page is out of date or a run is forged.")] = False,
    runs: Annotated[Path | None, typer.Option(help="Print a table of the runs in this folder instead.")] = None,
    root: Annotated[Path | None, typer.Option(help="The leaderboards folder.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="With --check: processes at most; one a core when missing.")
    ] = None,
) -> int:
    """Tables from run folders."""
    from jepawm_bench.leaderboard import measured_rows, read_runs, reference_rows, tables
    from jepawm_bench.planner_study import split_runs
    from jepawm_bench.protocols import find_env
    from jepawm_bench.threads import available_cores

    if runs is not None and (write or check):
        raise UsageError("--runs prints a table; it cannot be used with --write or --check.")
    if workers is not None and not check:
        raise UsageError("--workers says how many processes check runs; use it with --check.")
    home = root or _home()
    if home is None and runs is None:
        raise UsageError("There is no leaderboards folder here; give one with --root, or a folder of runs with --runs.")
    source = runs or home
    assert source is not None
    found = read_runs(source)
    ranked, study = (found, []) if runs is not None else split_runs(found, source)
    rows = measured_rows(ranked) + (reference_rows(home / "reference" / "published.csv") if home else [])
    wanted = find_env(env) if env else None
    chosen = {key: value for key, value in tables(rows).items() if wanted in (None, key[0])}
    asked_study = [run for run in study if wanted in (None, run[1].spec.env)]
    if not chosen and not asked_study:
        raise UsageError(f"There are no finished runs{f' of {wanted}' if wanted else ''} in {source}.")
    if home is None or not (write or check):
        _print(chosen)
        _print_study(asked_study)
        return 0
    pages = _pages(_whole_families(tables(rows), wanted), home) | _study_page(study if asked_study else [], home)
    if check:
        checked = [(path, _replayed(claims.spec.env)) for path, claims in found if wanted in (None, claims.spec.env)]
        return _check(pages, checked, home, only_one=wanted is not None, workers=workers or available_cores())
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
        typer.echo(f"written {path}")
    return 0


def _home() -> Path | None:
    """``leaderboards/`` of the working folder, else of this package's checkout."""
    for folder in (Path("leaderboards"), Path(__file__).parents[2] / "leaderboards"):
        if folder.is_dir():
            return folder
    return None


def _print(chosen: dict[tuple[str, str], list[Row]]) -> None:
    from jepawm_bench.cli.tables import print_table
    from jepawm_bench.leaderboard import ranks
    from jepawm_bench.leaderboard_page import COLUMNS, cells

    for (env, protocol), rows in chosen.items():
        lines = [cells(row, rank) for row, rank in zip(rows, ranks(rows), strict=True)]
        print_table(f"{env}, protocol {protocol}", COLUMNS, lines)


def _print_study(runs: list[Run]) -> None:
    from jepawm_bench.cli.tables import print_table
    from jepawm_bench.planner_page import COLUMNS, cells
    from jepawm_bench.planner_study import groups, planner_rows

    for key, rows in groups(planner_rows(runs)).items():
        title = f"{key.player} on {key.env}, protocol {key.protocol}, planners"
        print_table(title, COLUMNS, [cells(row) for row in rows])


def _study_page(runs: list[Run], home: Path) -> dict[Path, str]:
    """The page of all planners; none where there are no runs of them."""
    from jepawm_bench.planner_page import planner_page
    from jepawm_bench.planner_study import planner_rows, published_planners

    if not runs:
        return {}
    published = published_planners(home / "reference" / "published_planners.csv")
    return {home / "planners.md": planner_page(planner_rows(runs), published, home)}


def _pages(chosen: dict[tuple[str, str], list[Row]], home: Path) -> dict[Path, str]:
    from jepawm_bench.leaderboard_page import family_page, page
    from jepawm_bench.protocols import family, short_name

    families: dict[str, dict[tuple[str, str], list[Row]]] = {}
    for (env, protocol), rows in chosen.items():
        families.setdefault(family(env), {})[env, protocol] = rows
    pages = {}
    for name, tables in families.items():
        single = {protocol: rows for (env, protocol), rows in tables.items() if short_name(env) == name}
        env_id = next(iter(tables))[0]
        text = page(env_id, single, home) if single else family_page(name, tables, home)
        pages[home / f"{name}.md"] = text
    return pages


def _whole_families(every: dict[tuple[str, str], list[Row]], wanted: str | None) -> dict[tuple[str, str], list[Row]]:
    """The tables of the pages on which ``wanted`` stands; all when it is None."""
    from jepawm_bench.protocols import family

    return {key: rows for key, rows in every.items() if wanted is None or family(key[0]) == family(wanted)}


def _replayed(env_id: str) -> int | None:
    """How many episodes of a run the check replays: all where the simulator is quick, else a few."""
    from jepawm_envs.registration import ENVIRONMENTS

    return FEW if ENVIRONMENTS[env_id].slow else None


def _check(
    pages: dict[Path, str], runs: list[tuple[Path, int | None]], home: Path, *, only_one: bool, workers: int
) -> int:
    from jepawm_bench.verify_many import verify_many

    problems = [
        f"{path} is not what the run folders give; run 'jepawm-bench leaderboard --write'."
        for path, text in pages.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if not only_one:
        orphans = sorted(set(home.glob("*.md")) - set(pages) - {home / "README.md"})
        problems += [f"{path} has no finished run behind it; remove it." for path in orphans]
    for (path, _), verification in zip(runs, verify_many(runs, workers=workers), strict=True):
        if not verification.passed:
            problems.append(f"{path} is not what it claims; see 'jepawm-bench verify {path}'.")
    for problem in problems:
        typer.echo(problem, err=True)
    if not problems:
        typer.echo(f"{len(pages)} pages are up to date, {len(runs)} runs are what they claim.")
    return 1 if problems else 0
