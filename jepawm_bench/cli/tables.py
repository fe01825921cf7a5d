"""Printing tables on stdout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns whose every cell is a number are aligned right."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    cells = [[_text(cell) for cell in row] for row in rows]
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for number, name in enumerate(columns):
        numeric = bool(cells) and all(row[number][:1].isdigit() or row[number] in ("", "-") for row in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(escape(cell) for cell in row))
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width
        console = Console(width=160)
    console.print(table)


def _text(cell: object) -> str:
    return "-" if cell is None else str(cell)
