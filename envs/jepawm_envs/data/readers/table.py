"""The table of layouts."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

from jepawm_envs.data.readers.base import Reader
from jepawm_envs.errors import InvalidOption

LAYOUTS: dict[str, tuple[str, str]] = {
    "pusht_noise": ("dino_wm:PushTReader", "DINO-WM's Push-T: tensors and MP4 films"),
    "point_maze": ("dino_wm:PointMazeReader", "DINO-WM's PointMaze: tensors"),
    "wall_single": ("dino_wm:WallReader", "DINO-WM's Wall: tensors"),
    "metaworld": ("metaworld:MetaworldReader", "JEPA-WMs' Metaworld: Parquet with MP4 films"),
    "robocasa": ("robots:RoboCasaReader", "RoboCasa teleoperation: HDF5"),
    "droid": ("robots:DroidReader", "DROID: manifest, HDF5, metadata and MP4 films"),
    "franka": ("robots:FrankaReader", "JEPA-WMs' Franka recordings: HDF5"),
    "minari": ("minari_reader:MinariReader", "a Minari data set with images"),
    "store": ("store_reader:StoreReader", "a data set of this package"),
}
"""Reader and one line of every layout."""


def open_reader(layout: str, path: str | Path, **options: Any) -> Reader:
    """A data set in a published layout.

    Args:
        layout: of :data:`LAYOUTS`.
        path: where it lies; for ``minari`` its identifier.
        **options: of the layout's reader.

    Raises:
        InvalidOption: for an unknown layout or option.
        DataError: if what all episodes share is missing or damaged.
    """
    if layout not in LAYOUTS:
        raise InvalidOption(f"Layout {layout!r} is not known; choose one of {', '.join(LAYOUTS)}.")
    module, _, name = LAYOUTS[layout][0].partition(":")
    reader = getattr(import_module(f"jepawm_envs.data.readers.{module}"), name)
    known = {name: hint for name, hint in get_type_hints(reader.__init__).items() if name not in ("path", "return")}
    for option, value in options.items():
        if option not in known:
            raise InvalidOption(f"Layout {layout!r} has no option {option!r}; it has {', '.join(known)}.")
        if not _fits(value, known[option]):
            raise InvalidOption(f"Option {option!r} of layout {layout!r} cannot be {value!r}.")
    return reader(Path(path), **options)


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of one of the types of a hint; whole numbers are numbers, truth values are not."""
    types = get_args(hint) or (hint,)
    return type(value) in types or (float in types and type(value) is int)
