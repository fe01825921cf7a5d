"""The mazes: which cells are walls, and where a point may be.

A maze is rows of ``#`` (wall) and ``O`` (free). The first index is along world x and the second along world y; cell
(i, j) is the unit square around world (i + 1, j + 1). A point's coordinates q are world coordinates less 1.2, so that
cell (i, j) is centred at q = (i - 0.2, j - 0.2).

Source: jepa-wms ``pointmaze_env/maze_model.py:91-106, 145``; the other three are the layouts of D4RL's maze2d suite
(arXiv 2004.07219).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

BODY_ORIGIN = 1.2
"""World coordinates of the point at q = 0, on both axes (``maze_model.py:42-106``)."""
CELL_ORIGIN = 1.0 - BODY_ORIGIN
"""q of the centre of cell (0, 0)."""
RADIUS = 0.1


@dataclass(frozen=True)
class Maze:
    """One layout."""

    name: str
    rows: tuple[str, ...]

    @cached_property
    def walls(self) -> NDArray[np.bool_]:
        """True where a cell is a wall, (I, J)."""
        return np.array([[cell == "#" for cell in row] for row in self.rows])

    @cached_property
    def free_cells(self) -> NDArray[np.int64]:
        """Indices of the free cells, (F, 2)."""
        return np.argwhere(~self.walls)

    @cached_property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest q of a point that touches the outer walls, (2,) each."""
        low = self.free_cells.min(axis=0) + CELL_ORIGIN - 0.5 + RADIUS
        return low, self.free_cells.max(axis=0) + CELL_ORIGIN + 0.5 - RADIUS

    @cached_property
    def middle(self) -> tuple[float, float]:
        """World coordinates of the middle of the maze."""
        return (self.walls.shape[0] + 1) / 2, (self.walls.shape[1] + 1) / 2

    def cell(self, positions: ArrayLike) -> NDArray[np.int64]:
        """The cells that positions (..., 2) lie in, (..., 2)."""
        return np.floor(np.asarray(positions, np.float64) - CELL_ORIGIN + 0.5).astype(np.int64)

    def clearance(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Distance from positions (..., 2) to the nearest wall, (...); negative inside a wall or off the maze."""
        positions = np.asarray(positions, np.float64)
        centres = np.argwhere(self.walls) + CELL_ORIGIN
        outside = np.maximum(np.abs(positions[..., None, :] - centres) - 0.5, 0.0)
        distance = np.hypot(outside[..., 0], outside[..., 1]).min(axis=-1)
        cells = self.cell(positions)
        limits = np.array(self.walls.shape)
        within = ((cells >= 0) & (cells < limits)).all(axis=-1)
        safe = np.clip(cells, 0, limits - 1)
        free = within & ~self.walls[safe[..., 0], safe[..., 1]]
        return np.where(free, distance, -1.0)


MAZES = {
    maze.name: maze
    for maze in (
        Maze("umaze", ("#####", "#OOO#", "###O#", "#OOO#", "#####")),
        Maze("open", ("#######", "#OOOOO#", "#OOOOO#", "#OOOOO#", "#######")),
        Maze(
            "medium",
            ("########", "#OO##OO#", "#OO#OOO#", "##OOO###", "#OO#OOO#", "#O#OO#O#", "#OOO#OO#", "########"),
        ),
        Maze(
            "large",
            (
                "############",
                "#OOOO#OOOOO#",
                "#O##O#O#O#O#",
                "#OOOOOO#OOO#",
                "#O####O###O#",
                "#OO#O#OOOOO#",
                "##O#O#O#O###",
                "#OO#OOO#OOO#",
                "############",
            ),
        ),
    )
}
