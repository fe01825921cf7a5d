"""How the point moves: a rolling-free ball on two slide joints in MuJoCo, for any number of worlds.

One environment step clips the velocity to +-5 on each axis, then integrates five steps of 0.01 s with the force
+-100 N that the action, clipped to +-1, asks for. Gravity is off and contacts are frictionless.

Source of every constant: jepa-wms (commit 6eafb14) ``pointmaze_env/maze_model.py:42-106, 212-213, 270-272``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.pointmaze.layouts import BODY_ORIGIN, CELL_ORIGIN, RADIUS, Maze
from jepawm_envs.rendering import load_mujoco

mujoco, rollout = load_mujoco(), load_mujoco("mujoco.rollout")

Array = NDArray[np.float64]

TIMESTEP = 0.01
SUBSTEPS = 5
MAX_SPEED = 5.0
"""Of the velocity that a step begins with, on each axis."""
DENSITY = 1000.0
DAMPING = 1.0
GEAR = 100.0
REACH = RADIUS + 0.01
"""Half width of the square in which walls can matter: the ball and more than the margin of 0.002 of contacts."""
CORNERS = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
SITE_RADIUS = 0.2
"""Of the disc that is drawn; the ball that collides is half as large and invisible."""


@dataclass(frozen=True)
class Body:
    """The factors of the physics; the defaults are the published ones."""

    density: float = DENSITY
    damping: float = DAMPING

    @property
    def mass(self) -> float:
        """Of the ball, kg."""
        return self.density * 4 / 3 * np.pi * RADIUS**3


PUBLISHED = Body()


class World:
    """A maze with a ball in it: true dynamics of any number of balls that do not see each other.

    Balls that come near no wall during a step fly as MuJoCo would compute it, in closed form and all at once; only
    the others are handed to MuJoCo. Which it is depends on each ball alone, so results do not depend on the batch.

    Differs from the reference: the solver starts every step cold instead of from its last solution, so the state
    holds all there is to know. With and without, states differ by less than 1e-12 over the recorded episodes.
    """

    def __init__(self, maze: Maze, body: Body = PUBLISHED):
        self.maze, self.body = maze, body
        self.model = build_model(maze, body)
        self._data = mujoco.MjData(self.model)
        self._wall_rows = maze.walls.tolist()
        self._last = maze.walls.shape[0] - 1, maze.walls.shape[1] - 1

    def __reduce__(self):
        return World, (self.maze, self.body)

    def simulate(self, states: ArrayLike, actions: ArrayLike) -> Array:
        """Move balls along action sequences.

        Args:
            states: (..., 4): x, y and their velocities, in cells and cells a second.
            actions: (..., T, 2), clipped to +-1.

        Returns:
            States after every action, (..., T, 4).
        """
        actions = np.asarray(actions, np.float64)
        lead, steps = actions.shape[:-2], actions.shape[-2]
        state = np.broadcast_to(np.asarray(states, np.float64), (*lead, 4)).reshape(-1, 4)
        forces = np.clip(actions, -1.0, 1.0).reshape(-1, steps, 2)
        paths = np.empty((*forces.shape[:2], 4))
        for t in range(steps):
            state = paths[:, t] = self.move(state, forces[:, t])
        return paths.reshape(*lead, steps, 4)

    def move(self, states: Array, forces: Array) -> Array:
        """One environment step: states (B, 4) and forces (B, 2) in [-1, 1] to states (B, 4)."""
        velocity = np.clip(states[:, 2:], -MAX_SPEED, MAX_SPEED)
        if len(states) == 1:
            flown = self._fly_one(*states[0, :2].tolist(), *velocity[0].tolist(), *forces[0].tolist())
            return self._collide(states[:, :2], velocity, forces) if flown is None else np.array([flown])
        after, near = self._fly(states[:, :2], velocity, forces)
        if near.any():
            after[near] = self._collide(states[near, :2], velocity[near], forces[near])
        return after

    def _fly(self, position: Array, velocity: Array, forces: Array) -> tuple[Array, NDArray[np.bool_]]:
        """The states after a step without walls, and which balls come near one, (B,)."""
        inertia = self.body.mass + TIMESTEP * self.body.damping  # MuJoCo's Euler step takes damping implicitly
        near = self._near_wall(position)
        for _ in range(SUBSTEPS):
            velocity = velocity + TIMESTEP * ((GEAR * forces - self.body.damping * velocity) / inertia)
            position = position + TIMESTEP * velocity
            near |= self._near_wall(position)
        return np.concatenate([position, velocity], axis=-1), near

    def _fly_one(self, x: float, y: float, vx: float, vy: float, fx: float, fy: float) -> tuple[float, ...] | None:
        """What :meth:`_fly` computes, bit by bit, for one ball and in a fifth of its time; None near a wall."""
        damping, inertia = self.body.damping, self.body.mass + TIMESTEP * self.body.damping
        for step in range(SUBSTEPS + 1):
            if step:
                vx = vx + TIMESTEP * ((GEAR * fx - damping * vx) / inertia)
                vy = vy + TIMESTEP * ((GEAR * fy - damping * vy) / inertia)
                x, y = x + TIMESTEP * vx, y + TIMESTEP * vy
            for i in (math.floor(x + side - CELL_ORIGIN + 0.5) for side in (-REACH, REACH)):
                for j in (math.floor(y + side - CELL_ORIGIN + 0.5) for side in (-REACH, REACH)):
                    if self._wall_rows[min(max(i, 0), self._last[0])][min(max(j, 0), self._last[1])]:
                        return None
        return x, y, vx, vy

    def _near_wall(self, position: Array) -> NDArray[np.bool_]:
        """Whether the square around the ball, a little larger than it, leaves the free cells, (B,)."""
        corners = self.maze.cell(position[:, None] + REACH * CORNERS)
        corners = np.clip(corners, 0, np.array(self.maze.walls.shape) - 1)
        return np.asarray(self.maze.walls[corners[..., 0], corners[..., 1]].any(axis=-1))

    def _collide(self, position: Array, velocity: Array, forces: Array) -> Array:
        """A step in MuJoCo."""
        initial = np.concatenate([np.zeros((len(position), 1)), position, velocity], axis=-1)  # the first is the time
        control = np.repeat(forces[:, None], SUBSTEPS, axis=1)
        states, _ = rollout.rollout(self.model, self._data, initial, control)
        return states[:, -1, 1:]


def build_model(maze: Maze, body: Body = PUBLISHED) -> Any:
    """A compiled ``mujoco.MjModel``, a new one every time, because callers may change its colours."""
    return mujoco.MjModel.from_xml_string(build_xml(maze, body))


@lru_cache(maxsize=64)
def build_xml(maze: Maze, body: Body = PUBLISHED) -> str:
    """The MuJoCo description of a maze with a ball in it."""
    root = ElementTree.Element("mujoco", model=f"pointmaze_{maze.name}")

    def add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
        return ElementTree.SubElement(parent, tag, {key.rstrip("_"): value for key, value in attributes.items()})

    add(root, "compiler", inertiafromgeom="true", angle="radian", coordinate="local")
    option = add(root, "option", timestep=f"{TIMESTEP}", gravity="0 0 0", iterations="20", integrator="Euler")
    add(option, "flag", warmstart="disable")
    defaults = add(root, "default")
    add(defaults, "joint", damping=repr(body.damping), limited="false")
    add(
        defaults, "geom", friction=".5 .1 .1", density=repr(body.density), margin="0.002", condim="1",
        contype="2", conaffinity="1",
    )  # fmt: skip
    visual = add(root, "visual")
    add(visual, "headlight", ambient=".4 .4 .4", diffuse=".8 .8 .8", specular=".1 .1 .1")
    add(visual, "map", znear=".01")
    add(visual, "quality", shadowsize="2048")
    asset = add(root, "asset")
    add(
        asset, "texture", name="floor", type="2d", builtin="checker", rgb1=".2 .3 .4", rgb2=".1 .2 .3",
        width="100", height="100",
    )  # fmt: skip
    add(
        asset, "texture", name="sky", type="skybox", builtin="gradient", rgb1=".4 .6 .8", rgb2="0 0 0",
        width="800", height="800", mark="random", markrgb="1 1 1",
    )  # fmt: skip
    add(asset, "material", name="floor", texture="floor", texrepeat="20 20")
    add(asset, "material", name="wall", rgba=".7 .5 .3 1")
    world = add(root, "worldbody")
    add(
        world, "geom", name="floor", type="plane", size="40 40 .25", pos="0 0 -.1", contype="1", conaffinity="0",
        material="floor",
    )  # fmt: skip
    ball = add(world, "body", name="ball", pos=f"{BODY_ORIGIN} {BODY_ORIGIN} 0")
    add(ball, "geom", name="ball", type="sphere", size=f"{RADIUS}", rgba="0 0 1 0", contype="1")
    add(ball, "site", name="ball", pos="0 0 0", size=f"{SITE_RADIUS}", rgba=".3 .6 .3 1")
    add(ball, "joint", name="x", type="slide", pos="0 0 0", axis="1 0 0")
    add(ball, "joint", name="y", type="slide", pos="0 0 0", axis="0 1 0")
    for i, j in np.argwhere(maze.walls):
        add(
            world, "geom", name=f"wall_{i}_{j}", type="box", material="wall", pos=f"{i + 1}. {j + 1}. 0",
            size=".5 .5 .2",
        )  # fmt: skip
    actuators = add(root, "actuator")
    for joint in ("x", "y"):
        add(actuators, "motor", joint=joint, ctrlrange="-1 1", ctrllimited="true", gear=f"{GEAR:g}")
    return ElementTree.tostring(root, encoding="unicode")
