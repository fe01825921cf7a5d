"""The blocks of the Push-T task, as convex parts in the block's own frame.

Facts: the Push-T environment of DINO-WM as kept in jepa-wms (commit 6eafb14, ``pusht_env.py:742-1012``). Lengths are
pixels. Order of parts and vertices is part of the facts: the contact solver visits them in it, and states are
compared bit for bit. The T is always built at scale 30; the other blocks at the scale 40 that the environment passes
to them, which only the T ignores.
"""

from __future__ import annotations

from dataclasses import dataclass

Vertices = tuple[tuple[float, float], ...]

T_SCALE = 30.0
OTHER_SCALE = 40.0


@dataclass(frozen=True)
class BlockShape:
    """One block.

    Attributes:
        parts: rectangles, corners in order around, pixels.
        inertia_parts: polygons whose moments of inertia (mass 1 each, about the origin) add up to the block's. They
            are not always the parts: the reference counts the bar of T and ``+`` again instead of its other parts.
    """

    parts: tuple[Vertices, ...]
    inertia_parts: tuple[Vertices, ...]

    def scaled(self, factor: float) -> BlockShape:
        """The block with every length multiplied by ``factor``."""
        if factor == 1.0:
            return self
        parts, inertia = (
            tuple(tuple((x * factor, y * factor) for x, y in part) for part in group)
            for group in (self.parts, self.inertia_parts)
        )
        return BlockShape(parts, inertia)


def _scaled(unit: Vertices, scale: float) -> Vertices:
    return tuple((x * scale, y * scale) for x, y in unit)


def _block(*parts: Vertices, scale: float = OTHER_SCALE, inertia_of: tuple[int, ...] | None = None) -> BlockShape:
    scaled = tuple(_scaled(part, scale) for part in parts)
    return BlockShape(scaled, tuple(scaled[i] for i in inertia_of) if inertia_of else scaled)


_BAR_4 = ((-2.0, 1.0), (2.0, 1.0), (2.0, 0.0), (-2.0, 0.0))
_BAR_3 = ((-1.5, 1.0), (1.5, 1.0), (1.5, 0.0), (-1.5, 0.0))
_CROSSBAR = ((-1.5, 0.5), (1.5, 0.5), (1.5, -0.5), (-1.5, -0.5))

SHAPES: dict[str, BlockShape] = {
    "T": _block(_BAR_4, ((-0.5, 1.0), (-0.5, 4.0), (0.5, 4.0), (0.5, 1.0)), scale=T_SCALE, inertia_of=(0, 0)),
    "L": _block(
        ((0.0, 0.0), (0.0, 2.0), (1.0, 2.0), (1.0, 0.0)),
        ((0.0, 0.0), (2.0, 0.0), (2.0, -1.0), (0.0, -1.0)),
    ),
    "Z": _block(
        ((0.0, 0.0), (0.0, 1.0), (2.0, 1.0), (2.0, 0.0)),
        ((-1.0, 0.0), (1.0, 0.0), (1.0, -1.0), (-1.0, -1.0)),
    ),
    "square": _block(((-1.0, -1.0), (-1.0, 1.0), (1.0, 1.0), (1.0, -1.0))),
    "I": _block(((-0.5, -2.0), (-0.5, 2.0), (0.5, 2.0), (0.5, -2.0))),
    "small_tee": _block(_BAR_3, ((-0.5, 1.0), (-0.5, 2.0), (0.5, 2.0), (0.5, 1.0))),
    "+": _block(
        _CROSSBAR,
        ((-0.5, 0.5), (-0.5, 1.5), (0.5, 1.5), (0.5, 0.5)),
        ((-0.5, -0.5), (-0.5, -1.5), (0.5, -1.5), (0.5, -0.5)),
        inertia_of=(0, 0, 0),
    ),
}
"""Block shapes by the name under which the data sets know them."""
