"""What PointMaze looks like: MuJoCo's picture straight from above, rows as OpenGL stores them (y grows downwards).

The ball that collides is invisible; a disc twice as wide is drawn. Facts: jepa-wms ``pointmaze_env/maze_model.py:48-70,
263-268, 338-347``; the camera is where mujoco-py puts it for this model, looking at the middle of the maze.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.pointmaze import physics
from jepawm_envs.pointmaze.layouts import Maze
from jepawm_envs.rendering import Camera, Quality, View

CAMERA_DISTANCE = 9.734846922834954
"""For the five by five cells of the U-maze: the extent that MuJoCo computes for it; other mazes in proportion."""
CELLS = 5
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """The factors of appearance; the defaults are the published ones. Colours are 0 to 255, before lighting."""

    ball_color: Color = (76, 153, 76)
    ball_radius: float = physics.SITE_RADIUS
    wall_color: Color = (178, 128, 76)
    floor_color: Color = (255, 255, 255)
    light: float = 0.8
    camera_distance: float = 1.0
    camera_azimuth: float = 0.0


PUBLISHED = Style()


class Painter:
    """Draws one maze; holds an OpenGL context from the first picture to :meth:`close`."""

    def __init__(self, maze: Maze, size: int, quality: Quality):
        self._maze = maze
        self._model = physics.build_model(maze)
        self._data = physics.mujoco.MjData(self._model)
        self._camera = Camera(self._model, size, quality, bottom_first=True)
        self._published = {
            name: np.array(value)
            for name, value in (
                ("ball", self._model.site("ball").rgba),
                ("wall", self._model.mat("wall").rgba),
                ("floor", self._model.mat("floor").rgba),
            )
        }

    def draw(self, positions: ArrayLike, style: Style = PUBLISHED) -> NDArray[np.uint8]:
        """Pictures (..., size, size, 3) of balls at positions (..., 2)."""
        positions = np.asarray(positions, np.float64)
        self._apply(style)
        flat = positions.reshape(-1, 2)
        size = self._camera.size
        pictures = np.empty((len(flat), size, size, 3), np.uint8)
        for picture, position in zip(pictures, flat, strict=True):
            self._data.qpos[:] = position
            physics.mujoco.mj_kinematics(self._model, self._data)
            picture[:] = self._camera.render(self._data)
        return pictures.reshape(*positions.shape[:-1], size, size, 3)

    def close(self) -> None:
        """Free the context."""
        self._camera.close()

    def _apply(self, style: Style) -> None:
        model = self._model
        pairs = (
            ("ball", model.site("ball").rgba, style.ball_color, PUBLISHED.ball_color),
            ("wall", model.mat("wall").rgba, style.wall_color, PUBLISHED.wall_color),
            ("floor", model.mat("floor").rgba, style.floor_color, PUBLISHED.floor_color),
        )
        for name, target, color, published in pairs:
            # The published colours are not whole 255ths, so the default must not pass through them.
            target[:] = self._published[name] if color == published else (*np.divide(color, 255.0), 1.0)
        model.site("ball").size[0] = style.ball_radius
        model.vis.headlight.diffuse[:] = style.light
        self._camera.view = _view(self._maze, style)


def _view(maze: Maze, style: Style) -> View:
    scale = max(maze.walls.shape) / CELLS * style.camera_distance
    return View((*maze.middle, 0.0), CAMERA_DISTANCE * scale, 90.0 + style.camera_azimuth, -90.0)
