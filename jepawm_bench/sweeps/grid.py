"""The cells of a sweep: every combination of what the grids name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from jepawm_bench.errors import UsageError
from jepawm_bench.plugins import ABLATIONS, call_all
from jepawm_bench.settings import KEY, flatten, format_value, parse_value
from jepawm_bench.suggest import unknown

ABLATION, OPTION = "ablation:", "option:"


@dataclass(frozen=True)
class Cell:
    """One combination."""

    labels: Mapping[str, str]
    """What is varied and what it is here, in the order of the grids."""
    arguments: tuple[str, ...]
    """Words of the command line that say so."""

    @property
    def name(self) -> str:
        """``key=value`` for everything that is varied; also the name of its folder."""
        return ",".join(f"{key}={re.sub(r'[^A-Za-z0-9._+-]+', '_', value)}" for key, value in self.labels.items())


@dataclass(frozen=True)
class _Choice:
    label: str
    arguments: tuple[str, ...]


def make_cells(grids: Sequence[str]) -> list[Cell]:
    """Every combination of grids, the last one varying fastest.

    Args:
        grids: each ``KEY=VALUE,VALUE,...`` of a setting, ``option:NAME=VALUE,...`` of an option of the command, or
            ``ablation:NAME``, a grid that a package brings.

    Raises:
        UsageError: for a grid that is none of these, or that is there twice.
    """
    if not grids:
        raise UsageError("A sweep needs something to vary: --grid KEY=VALUE,VALUE or --grid ablation:NAME.")
    named = dict(_choices(grid) for grid in grids)
    if len(named) < len(grids):
        raise UsageError("Two grids vary the same; put all values into one.")
    cells = []
    for combination in product(*named.values()):
        labels = {key: choice.label for key, choice in zip(named, combination, strict=True)}
        cells.append(Cell(labels, tuple(word for choice in combination for word in choice.arguments)))
    if len({cell.name for cell in cells}) < len(cells):
        raise UsageError("Two cells of the sweep have the same name; values must differ in letters or digits.")
    return cells


def _choices(grid: str) -> tuple[str, list[_Choice]]:
    """What a grid varies, and its values."""
    if grid.startswith(ABLATION):
        return _ablation(grid.removeprefix(ABLATION))
    key, equals, text = grid.partition("=")
    option = key.startswith(OPTION)
    key = key.removeprefix(OPTION).strip()
    if not equals or not text.strip() or not KEY.fullmatch(key):
        raise UsageError(f"--grid {grid!r} is not of the form KEY=VALUE,VALUE, such as planner.num_samples=100,300.")
    values = [format_value(value) for value in _values(text)]
    if option:
        return key, [_Choice(value, (f"--{key}", value)) for value in values]
    return key, [_Choice(value, ("--set", f"{key}={value}")) for value in values]


def _values(text: str) -> list[Any]:
    """``1,2`` as numbers, ``[1, 2], [3]`` as lists; other words as they are."""
    listed = parse_value(f"[{text}]")
    return listed if isinstance(listed, list) else [parse_value(word.strip()) for word in text.split(",")]


def _ablation(name: str) -> tuple[str, list[_Choice]]:
    known: dict[str, Mapping[str, Any]] = {
        row["name"]: row for plugin in call_all(ABLATIONS) if plugin.problem is None for row in plugin.value
    }
    if name not in known:
        raise unknown("ablation", name, known)
    return name, [_Choice(label, _settings(changes)) for label, changes in known[name]["cells"].items()]


def _settings(changes: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(word for key, value in flatten(changes).items() for word in ("--set", f"{key}={format_value(value)}"))
