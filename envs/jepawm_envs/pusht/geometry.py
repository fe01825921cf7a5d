"""Where the block's outline is, where to touch it, and how to walk around it. Pixels; all functions are pure."""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.pusht.physics import CANVAS, PIXELS_PER_ACTION, World

Array = NDArray[np.float64]

SPACING = 20.0
"""Distance between neighbouring contact points along an edge."""
RING = 20
"""Stepping stones of a walk around the block."""


def block_corners(world: World, state: Array) -> list[Array]:
    """Corners (V, 2) of every part of the block in a state (7,)."""
    x, y, angle = state[2:5]
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    return [np.array(part) @ turn + (x, y) for part in world.block.parts]


def edges(corners: list[Array]) -> tuple[Array, Array]:
    """Both ends of all edges, (E, 2) each; parts go around counter-clockwise as x turns to y."""
    starts, ends = [], []
    for part in corners:
        middle = part.mean(axis=0)
        order = np.argsort(np.arctan2(*(part - middle).T[::-1]))
        ring = part[order]
        starts.append(ring)
        ends.append(np.roll(ring, -1, axis=0))
    return np.concatenate(starts), np.concatenate(ends)


def distance_to_block(points: Array, corners: list[Array]) -> Array:
    """Distance of points (..., 2) to the block, whose parts are rectangles; 0 inside it, (...)."""
    points = np.asarray(points)
    nearest = np.full(points.shape[:-1], np.inf)
    for part in corners:
        beyond = []
        for neighbour in (part[1], part[3]):
            along = neighbour - part[0]
            length = math.hypot(*along)
            middle = float(part.mean(axis=0) @ along)
            beyond.append(np.maximum(np.abs(points @ along - middle) / length - length / 2, 0.0))
        nearest = np.minimum(nearest, np.square(beyond[0]) + np.square(beyond[1]))
    return np.sqrt(nearest)


def contact_points(corners: list[Array], away: float) -> tuple[Array, Array]:
    """Places from which the block can be pushed.

    Args:
        corners: of the block's parts.
        away: distance of the places from the outline.

    Returns:
        Places (N, 2) and the directions of pushing, unit vectors into the block, (N, 2).
    """
    starts, ends = edges(corners)
    places, inwards = [], []
    for start, end in zip(starts, ends, strict=True):
        length = math.dist(start, end)
        count = max(int(length // SPACING), 1)
        shares = (np.arange(count) + 0.5) / count
        normal = np.array([start[1] - end[1], end[0] - start[0]]) / length
        places.append(start + shares[:, None] * (end - start) - away * normal)
        inwards.append(np.broadcast_to(normal, (count, 2)))
    points, normals = np.concatenate(places), np.concatenate(inwards)
    free = (distance_to_block(points, corners) > away - 1e-6) & (points > 0).all(axis=1) & (points < CANVAS).all(axis=1)
    return points[free], normals[free]


def walk_around(start: Array, target: Array, corners: list[Array], clearance: float) -> list[Array]:
    """Waypoints of a short walk that keeps ``clearance`` from the block, the last one the target."""
    return walks_around(start, target[None], corners, clearance)[0][0]


def walks_around(
    start: Array, targets: Array, corners: list[Array], clearance: float
) -> tuple[list[list[Array]], Array]:
    """Short walks from one place to many.

    Where start or target are too near the block, as far from it as they are is enough.

    Args:
        start: (2,).
        targets: (N, 2).
        corners: of the block's parts.
        clearance: distance to keep.

    Returns:
        Waypoints to every target, and the lengths (N,), infinite where there is no way.
    """
    stones = _stones(corners, clearance + 6.0)
    nodes = np.concatenate([start[None], stones, targets])
    inner = 1 + len(stones)
    near = np.minimum(distance_to_block(nodes, corners) - 1e-6, clearance)
    length = np.linalg.norm(nodes[:inner, None] - nodes, axis=-1)
    allowed = _passable(nodes[:inner], nodes, corners, np.minimum(near[:inner, None], near))
    cost = np.where(allowed, length, np.inf)
    best, previous = _shortest(cost, inner)
    ways = []
    for target in range(inner, len(nodes)):
        way, node = [nodes[target]], int(previous[target])
        while node > 0:
            way.append(nodes[node])
            node = int(previous[node])
        ways.append(way[::-1])
    return ways, best[inner:]


def _stones(corners: list[Array], away: float) -> Array:
    """Places around the block, free and on the canvas, (M, 2)."""
    flat = np.concatenate(corners)
    directions = np.linspace(0, 2 * math.pi, RING, endpoint=False)
    compass = np.stack([np.cos(directions), np.sin(directions)], axis=-1)
    middle = (flat.max(axis=0) + flat.min(axis=0)) / 2
    # The outline as seen from the middle of its box: the support of the corners and the distance beyond it.
    radii = ((flat - middle) @ compass.T).max(axis=0) + away
    places = middle + compass * radii[:, None]
    on_canvas = (places > 5).all(axis=1) & (places < CANVAS - 5).all(axis=1)
    return places[on_canvas]


def _passable(starts: Array, ends: Array, corners: list[Array], clearance: Array) -> NDArray[np.bool_]:
    """Whether straight walks (A, 2) to (B, 2) keep their clearance (A, B), tested every few pixels."""
    shares = np.linspace(0, 1, 17)
    points = starts[:, None, None] + shares[:, None] * (ends[None, :, None] - starts[:, None, None])
    return distance_to_block(points, corners).min(axis=-1) >= clearance - 1.0


def _shortest(cost: Array, inner: int) -> tuple[Array, NDArray[np.intp]]:
    """Dijkstra from node 0; only the first ``inner`` nodes may be passed through."""
    best = np.full(cost.shape[1], np.inf)
    previous = np.zeros(cost.shape[1], dtype=np.intp)
    best[0] = 0.0
    queue, done = [(0.0, 0)], set()
    while queue:
        so_far, node = heapq.heappop(queue)
        if node in done or node >= inner:
            continue
        done.add(node)
        reached = so_far + cost[node]
        for other in np.nonzero(reached < best)[0]:
            best[other], previous[other] = reached[other], node
            heapq.heappush(queue, (float(reached[other]), int(other)))
    return best, previous


def stride_towards(position: Array, target: Array, longest: float) -> Array:
    """The action (2,) that aims at a target, at most ``longest`` long."""
    action = (np.asarray(target) - np.asarray(position)) / PIXELS_PER_ACTION
    length = float(np.hypot(*action))
    return action if length <= longest else action * (longest / length)
