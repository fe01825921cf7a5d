"""What Push-T looks like: block, pusher, walls and a fixed green silhouette on a 512-pixel canvas, then resized.

Facts: jepa-wms ``pusht_env.py:578-629`` and the drawing options beside it. All vertices are rounded to whole pixels and
nothing is smoothed; the canvas is resized bilinearly between the two nearest pixels, without a wider filter.

Differs from the reference: the one-pixel marks that pymunk's debug drawing puts where block and pusher or wall touch
are left out, since contacts are not part of a state (0.005 % of the pixels of the recorded frames).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.pusht import raster
from jepawm_envs.pusht.physics import CANVAS, WALL_RADIUS, WALLS, WORLD, World
from jepawm_envs.pusht.shapes import Vertices

Color = tuple[int, int, int]

PAPER_SIZE = 224
GOAL_POSE = (256.0, 256.0, math.pi / 4)
WALL_COLOR: Color = (211, 211, 211)
OUTLINE = 2  # half the width of the block's outline
AGENT_RIM = 4  # the pusher's inner, lighter disc is smaller by this
LIGHTER = 1.2

BACKGROUND, GOAL, BLOCK, BLOCK_FILL, AGENT, AGENT_FILL, WALL = range(7)


@dataclass(frozen=True)
class Look:
    """Everything about the picture that is not the state.

    Attributes:
        world: for the sizes of block and pusher.
        background, goal, block, agent: RGB; fillings of block and pusher are 1.2 times lighter.
        goal_shown: whether the fixed green silhouette is drawn. It is an anchor of the published pictures, not the
            goal of an episode.
    """

    world: World = field(default_factory=lambda: WORLD)
    background: Color = (255, 255, 255)
    goal: Color = (144, 238, 144)
    block: Color = (119, 136, 153)
    agent: Color = (65, 105, 225)
    goal_shown: bool = True


LOOK = Look()


def draw(states: ArrayLike, size: int = PAPER_SIZE, look: Look = LOOK) -> NDArray[np.uint8]:
    """Draw one image a state.

    Args:
        states: (..., 7); angles need not be wrapped.
        size: height and width of the images.
        look: colours and sizes.

    Returns:
        RGB images, (..., size, size, 3), uint8.
    """
    states = np.asarray(states, dtype=np.float64)
    lead = states.shape[:-1]
    images = np.empty((math.prod(lead), size, size, 3), dtype=np.uint8)
    for state, image in zip(states.reshape(-1, states.shape[-1]), images, strict=True):
        _draw_one(state, size, look, image)
    return images.reshape(*lead, size, size, 3)


def _draw_one(state: NDArray[np.float64], size: int, look: Look, image: NDArray[np.uint8]) -> None:
    image[:] = _empty_image(size, look)
    canvas = _empty_canvas(look.world, look.goal_shown).copy()
    for box in (_paint_block(canvas, state[2:5], look.world), _paint_agent(canvas, state[:2], look.world)):
        if box is not None:
            x0, y0, x1, y1 = box
            window = np.s_[y0:y1, x0:x1]
            np.copyto(canvas[window], WALL, where=_walls()[window])
            _resize_into(image, canvas, box, _palette(look))


def _paint_block(canvas, pose, world: World):
    """Paint the block on the canvas of colour numbers; gives the box (x0, y0, x1, y1) that may have changed."""
    parts = [_to_world(np.array(corners), pose) for corners in _corners(world)]
    everything = np.concatenate(parts)
    low, high = everything.min(axis=0) - 2 * OUTLINE, everything.max(axis=0) + 2 * OUTLINE + 1
    box = _clipped(*low, *high)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    window = canvas[y0:y1, x0:x1]
    for corners in parts:
        corners = corners - (x0, y0)
        np.copyto(window, BLOCK_FILL, where=_filling(corners, window.shape))
        np.copyto(window, BLOCK, where=_outline(corners, window.shape))
    return box


def _paint_agent(canvas, position, world: World):
    """Paint the pusher: a disc and a lighter one in it."""
    x, y = (int(value) for value in np.rint(position))
    radius = round(world.agent_radius)
    box = _clipped(x - radius, y - radius, x + radius, y + radius)
    if box is None:
        return None
    for size, number in ((radius, AGENT), (radius - AGENT_RIM, AGENT_FILL)):
        _stamp(canvas, raster.disc(size), x - size, y - size, number)
    return box


def _stamp(canvas, mask, x: int, y: int, number: int) -> None:
    box = _clipped(x, y, x + mask.shape[1], y + mask.shape[0])
    if box is not None:
        x0, y0, x1, y1 = box
        np.copyto(canvas[y0:y1, x0:x1], number, where=mask[y0 - y : y1 - y, x0 - x : x1 - x])


def _filling(corners, shape):
    return raster.cover([raster.polygon_spans(corners[None], shape[0])], [], shape)


def _outline(corners, shape):
    """Fat lines along the edges: a line, a parallelogram and a disc at either end."""
    ends = np.roll(corners, -1, axis=0)
    return raster.cover(*_fat_lines(corners, ends, OUTLINE, shape[0]), shape)


def _fat_lines(starts, ends, radius: int, height: int):
    steep, flat = raster.line_spans(starts, ends)
    delta = np.abs(ends - starts)[:, ::-1]
    length = np.maximum(np.hypot(delta[:, 0], delta[:, 1]), 1e-9)
    aside = np.rint(delta * (radius / length[:, None])).astype(np.intp)
    sides = np.stack([starts - aside, starts + aside, ends + aside, ends - aside], axis=1)
    rows = [steep, raster.polygon_spans(sides, height), raster.disc_spans(starts, radius)]
    return [*rows, raster.disc_spans(ends, radius)], [flat]


def _to_world(corners, pose):
    """Corners (V, 2) of the block's frame on the canvas, whole pixels."""
    x, y, angle = (float(value) for value in pose)
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = corners @ np.array([[cosine, sine], [-sine, cosine]])
    return np.rint(turned + np.array((x, y))).astype(np.intp)


@lru_cache(maxsize=64)
def _corners(world: World) -> tuple[Vertices, ...]:
    """Corners of the block's parts in the physics engine's order: counter-clockwise from the leftmost, upper one."""
    return tuple(_in_order(part) for part in world.block.parts)


def _in_order(part: Vertices) -> Vertices:
    middle_x, middle_y = (sum(values) / len(part) for values in zip(*part, strict=True))
    turn = sorted(part, key=lambda corner: math.atan2(corner[1] - middle_y, corner[0] - middle_x))
    first = turn.index(min(part))
    return tuple(turn[first:] + turn[:first])


def _clipped(x0, y0, x1, y1) -> tuple[int, int, int, int] | None:
    """The part of a box that lies on the canvas."""
    x0, y0, x1, y1 = (min(max(int(value), 0), CANVAS) for value in (x0, y0, x1, y1))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


@lru_cache(maxsize=32)
def _empty_canvas(world: World, goal_shown: bool):
    """Colour numbers (512, 512) of a world without block and pusher."""
    canvas = np.full((CANVAS, CANVAS), BACKGROUND, dtype=np.uint8)
    if goal_shown:
        for corners in _corners(world):
            mask = _filling(_to_world(np.array(corners), GOAL_POSE), canvas.shape)
            canvas[mask] = GOAL
    canvas[_walls()] = WALL
    canvas.flags.writeable = False
    return canvas


@lru_cache(maxsize=1)
def _walls():
    starts, ends = (np.array([wall[i] for wall in WALLS]).astype(np.intp) for i in (0, 1))
    return raster.cover(*_fat_lines(starts, ends, round(WALL_RADIUS), CANVAS), (CANVAS, CANVAS))


@lru_cache(maxsize=32)
def _palette(look: Look):
    """RGB by colour number, (7, 3), float32."""
    colors = [
        look.background,
        look.goal,
        look.block,
        _lighter(look.block),
        look.agent,
        _lighter(look.agent),
        WALL_COLOR,
    ]
    return np.array(colors, dtype=np.float32)


def _lighter(color: Color) -> Color:
    red, green, blue = (min(round(LIGHTER * value), 255) for value in color)
    return red, green, blue


@lru_cache(maxsize=32)
def _empty_image(size: int, look: Look):
    image = np.empty((size, size, 3), dtype=np.uint8)
    canvas = _empty_canvas(look.world, look.goal_shown)
    _resize_into(image, canvas, (0, 0, CANVAS, CANVAS), _palette(look))
    image.flags.writeable = False
    return image


@lru_cache(maxsize=32)
def _taps(size: int):
    """For every pixel of the image the canvas pixel before it, the one behind it, and the latter's weight."""
    centres = (np.arange(size) + 0.5) * (CANVAS / size) - 0.5
    before = np.floor(centres).astype(np.intp)
    weight = (centres - before).astype(np.float32)
    return np.clip(before, 0, CANVAS - 1), np.clip(before + 1, 0, CANVAS - 1), weight


def _resize_into(image, canvas, box, palette) -> None:
    """Draw the pixels of the image that see any of the box of the canvas."""
    size = len(image)
    before, behind, weight = _taps(size)
    x0, y0, x1, y1 = box
    columns, rows = (
        slice(int(np.searchsorted(behind, low)), int(np.searchsorted(before, high)))
        for low, high in ((x0, x1), (y0, y1))
    )
    across, down = weight[columns, None], weight[rows, None, None]
    upper, lower = (
        _blend(
            palette[canvas[np.ix_(taps[rows], before[columns])]],
            palette[canvas[np.ix_(taps[rows], behind[columns])]],
            across,
        )
        for taps in (before, behind)
    )
    image[rows, columns] = np.rint(_blend(upper, lower, down)).astype(np.uint8)


def _blend(first, second, weight):
    return first + weight * (second - first)
