"""Shortest ways through a maze: straight pieces that bend at the inner corners of the walls.

The way of a ball is that of its centre among walls grown by a distance. Nodes are the outer corners of the grown
walls; two points see each other when the straight line between them crosses no grown wall.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.pointmaze.layouts import CELL_ORIGIN, RADIUS, Maze

Array = NDArray[np.float64]

EPSILON = 1e-6


def path_length(maze: Maze, start: ArrayLike, goal: ArrayLike) -> float:
    """Length of the shortest way of the ball's centre from start to goal, (2,) each, in cells.

    The ball keeps its radius from faces of walls and goes around corners where grown faces meet, which is at most
    a few hundredths of a cell longer than the arc it could roll.
    """
    return shortest_path(maze, start, goal, RADIUS)[1]


def shortest_path(maze: Maze, start: ArrayLike, goal: ArrayLike, distance: float) -> tuple[Array, float]:
    """The bends and the goal on the shortest way (K, 2), and its length.

    Args:
        maze: the layout.
        start: (2,), in free space.
        goal: (2,), in free space.
        distance: kept from walls where start and goal allow it.
    """
    start, goal = np.asarray(start, np.float64), np.asarray(goal, np.float64)
    # A start or goal nearer to a wall than that must still see its surroundings.
    reach = max(0.0, min(distance, 0.7 * float(maze.clearance(np.stack([start, goal])).min())) - EPSILON)
    straight = float(np.hypot(*(goal - start)))
    if _sees(maze, start, goal[None], reach)[0]:
        return goal[None], straight
    nodes, lengths, following = _graph(maze, distance)
    from_start = np.where(_sees(maze, start, nodes, reach), np.hypot(*(nodes - start).T), np.inf)
    to_goal = np.where(_sees(maze, goal, nodes, reach), np.hypot(*(nodes - goal).T), np.inf)
    total = from_start[:, None] + lengths + to_goal
    first, last = np.unravel_index(total.argmin(), total.shape)
    bends = [int(first)]
    while bends[-1] != last:
        bends.append(int(following[bends[-1], last]))
    return np.concatenate([nodes[bends], goal[None]]), float(total[first, last])


@lru_cache(maxsize=16)
def _graph(maze: Maze, distance: float) -> tuple[Array, Array, NDArray[np.int64]]:
    """Nodes (N, 2), lengths of the shortest ways between them (N, N), and the first step on each way (N, N)."""
    nodes = _corners(maze, distance)
    lengths = np.full((len(nodes), len(nodes)), np.inf)
    for index, node in enumerate(nodes):
        seen = _sees(maze, node, nodes, distance - EPSILON)
        lengths[index, seen] = np.hypot(*(nodes[seen] - node).T)
    following = np.broadcast_to(np.arange(len(nodes)), lengths.shape).copy()
    for via in range(len(nodes)):  # Floyd and Warshall
        through = lengths[:, via, None] + lengths[via]
        shorter = through < lengths - 1e-12
        lengths = np.where(shorter, through, lengths)
        following = np.where(shorter, following[:, via, None], following)
    return nodes, lengths, following


def _corners(maze: Maze, distance: float) -> Array:
    """The outer corners of grown walls, (N, 2)."""
    height, width = maze.walls.shape
    found = []
    for i, j in np.argwhere(maze.walls):
        for di in (-1, 1):
            for dj in (-1, 1):
                inside = 0 <= i + di < height and 0 <= j + dj < width
                if inside and not (maze.walls[i + di, j] or maze.walls[i, j + dj] or maze.walls[i + di, j + dj]):
                    found.append(np.array([i, j]) + CELL_ORIGIN + np.array([di, dj]) * (0.5 + distance))
    return np.array(found).reshape(-1, 2)


def _sees(maze: Maze, point: Array, others: Array, distance: float) -> NDArray[np.bool_]:
    """Whether straight lines from a point (2,) to others (N, 2) stay out of walls grown by a distance, (N,)."""
    centres = np.argwhere(maze.walls) + CELL_ORIGIN
    half = 0.5 + distance - EPSILON
    way = (others - point)[:, None]  # (N, 1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (centres - half - point) / way, (centres + half - point) / way
    parallel_outside = (way == 0) & (np.abs(point - centres) >= half)
    enter = np.where(way == 0, np.where(parallel_outside, np.inf, -np.inf), np.minimum(one, two)).max(axis=-1)
    leave = np.where(way == 0, np.where(parallel_outside, -np.inf, np.inf), np.maximum(one, two)).min(axis=-1)
    crossed = (np.maximum(enter, 0.0) < np.minimum(leave, 1.0)).any(axis=-1)
    return ~crossed
