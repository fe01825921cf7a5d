"""Filling polygons, thick lines and discs with whole pixels, as the drawing library of the reference does.

Facts about pygame 2 (``src_c/draw.c``), as observable behaviour: polygons are filled row by row between the crossings
of their edges, rounded down; a line of width 4 follows Bresenham's
line, one pixel before and two behind it, across its flatter direction; discs have an even diameter. Every primitive
here becomes *spans*, runs of pixels along rows or columns, and a layer is whatever some span covers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]
Spans = tuple[Ints, Ints, Ints]
"""Line numbers, first pixels, last pixels (inclusive), each (M,)."""


def polygon_spans(vertices: Ints, height: int) -> Spans:
    """Row spans of convex polygons.

    Args:
        vertices: (P, V, 2), x and y, whole pixels.
        height: rows from 0 on that are wanted.
    """
    start, end = vertices, np.roll(vertices, -1, axis=1)
    flip = (start[..., 1] > end[..., 1])[..., None]
    top, bottom = np.where(flip, end, start), np.where(flip, start, end)
    x1, y1, x2, y2 = (side[..., None] for side in (top[..., 0], top[..., 1], bottom[..., 0], bottom[..., 1]))
    rows = np.arange(height)
    lowest = vertices[..., 1].max(axis=1)[:, None, None]
    met = ((rows >= y1) & (rows < y2)) | ((rows == lowest) & (y2 == lowest) & (y1 < y2))
    rise = (rows - y1) * (x2 - x1) / np.maximum(y2 - y1, 1)
    crossing = x1 + np.floor(rise).astype(np.intp)
    far = np.iinfo(np.intp).max
    low = np.where(met, crossing, far).min(axis=1)
    high = np.where(met, crossing, -far).max(axis=1)
    polygon, row = np.nonzero(met.any(axis=1))
    return row, low[polygon, row], high[polygon, row]


def line_spans(start: Ints, end: Ints) -> tuple[Spans, Spans]:
    """Row spans of the steep and column spans of the flat among lines (L, 2) to (L, 2), four pixels wide."""
    delta = end - start
    steep = np.abs(delta[:, 0]) <= np.abs(delta[:, 1])
    return _steep(start[steep], delta[steep]), _steep(start[~steep, ::-1], delta[~steep, ::-1])


def _steep(start: Ints, delta: Ints) -> Spans:
    """Spans across lines whose second coordinate changes most."""
    minor, major = np.abs(delta[:, 0]), np.abs(delta[:, 1])
    line = np.repeat(np.arange(len(start)), major + 1)
    step = np.arange(len(line)) - np.repeat(np.cumsum(major + 1) - major - 1, major + 1)
    length = np.maximum(major, 1)[line]
    aside = -((major[line] // 2 - step * minor[line]) // length)  # a ceiling
    sign = np.where(delta < 0, -1, 1)[line]
    across = start[line, 0] + sign[:, 0] * aside
    return start[line, 1] + sign[:, 1] * step, across - 1, across + 2


@lru_cache(maxsize=64)
def disc(radius: int) -> NDArray[np.bool_]:
    """A filled disc, (2 radius, 2 radius); its centre is the pixel (radius, radius)."""
    half = np.zeros(2 * radius, dtype=np.intp)  # half widths by row
    balance, x, y = 1 - radius, 0, radius
    slope = -2 * radius
    while x < y:
        if balance >= 0:
            y -= 1
            slope += 2
            balance += slope
        x += 1
        balance += 2 * x + 1
        wide = ((y, x), (x, y)) if balance >= 0 else ((x, y),)
        for row, width in wide:
            for line in (radius + row - 1, radius - row):
                half[line] = max(half[line], width)
    columns = np.arange(2 * radius) - radius
    mask = (columns >= -half[:, None]) & (columns < half[:, None])
    mask.flags.writeable = False
    return mask


def disc_spans(centres: Ints, radius: int) -> Spans:
    """Row spans of discs around (N, 2)."""
    half = disc(radius).sum(axis=1) // 2
    rows = centres[:, 1, None] + np.arange(-radius, radius)
    middle = np.broadcast_to(centres[:, 0, None], rows.shape)
    return rows.ravel(), (middle - half).ravel(), (middle + half - 1).ravel()


def cover(row_spans: list[Spans], column_spans: list[Spans], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels of a window (height, width) that some span covers; spans may reach beyond it."""
    mask = _covered(row_spans, shape)
    if column_spans:
        mask |= _covered(column_spans, (shape[1], shape[0])).T
    return mask


def _covered(spans: list[Spans], shape: tuple[int, int]) -> NDArray[np.bool_]:
    lines, width = shape
    line, low, high = (np.concatenate(parts) for parts in zip(*spans, strict=True))
    low, high = np.clip(low, 0, width), np.clip(high + 1, 0, width)
    inside = (line >= 0) & (line < lines) & (low < high)
    line, low, high = line[inside] * (width + 1), low[inside], high[inside]
    size = lines * (width + 1)
    steps = np.bincount(line + low, minlength=size) - np.bincount(line + high, minlength=size)
    return (np.cumsum(steps).reshape(lines, width + 1) > 0)[:, :width]
