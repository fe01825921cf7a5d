"""A contact strip: rows of pictures with their names, the last column set apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

TILE, GAP, APART, CAPTION, MARGIN = 128, 6, 18, 22, 76


def draw_strip(rows: Mapping[str, Sequence[NDArray[np.uint8]]], moments: Sequence[str]) -> Image.Image:
    """Draw pictures (H, W, 3) row by row, every one ``TILE`` pixels wide.

    Args:
        rows: pictures by the name of their row, as many in each as there are moments.
        moments: names of the columns; the last, the goal, is set apart.

    Raises:
        ValueError: for a row of another length.
    """
    for name, pictures in rows.items():
        if len(pictures) != len(moments):
            raise ValueError(f"Row {name!r} has {len(pictures)} pictures for {len(moments)} moments.")
    lefts = [
        MARGIN + column * (TILE + GAP) + (APART if column == len(moments) - 1 else 0) for column in range(len(moments))
    ]
    strip = Image.new("RGB", (lefts[-1] + TILE, CAPTION + len(rows) * (TILE + GAP) - GAP), "white")
    pen = ImageDraw.Draw(strip)
    for left, moment in zip(lefts, moments, strict=True):
        pen.text((left + 2, 4), moment, fill="black", font_size=13)
    for number, (name, pictures) in enumerate(rows.items()):
        top = CAPTION + number * (TILE + GAP)
        pen.text((4, top + TILE // 2 - 8), name, fill="black", font_size=13)
        for left, picture in zip(lefts, pictures, strict=True):
            tile = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.NEAREST)
            strip.paste(tile, (left, top))
    return strip
