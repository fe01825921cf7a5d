"""``JepaWM/PointMaze-v0`` and its other mazes."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.errors import InvalidState, choose
from jepawm_envs.factors import Factor
from jepawm_envs.goal_env import GoalEnv, State
from jepawm_envs.pointmaze import controllers, drawing, paths, physics, sampler
from jepawm_envs.pointmaze.layouts import CELL_ORIGIN, MAZES, RADIUS
from jepawm_envs.predicates import Predicate

START_VELOCITIES = ("random", "rest")
MIN_CLEARANCE = 0.005
"""Of the ball's centre from a wall, cells, half of what balls leave: contacts are soft, and a ball at full speed sinks
into the corner of a wall until 0.014 remain with the published physics, 0.010 with the lightest ball and no damping."""
REBOUND = 2.5
"""What a wall may add to the speed along an axis, cells a second: contacts are springs, and two in a corner add 1.9."""
SPEED_BOUND = 10.0
"""Of observations, on each axis; the lightest ball at full speed and force leaves a corner with 8.4."""

PUBLISHED = Predicate("pointmaze/published", 1, {"position": 0.5}, source="jepa-wms pointmaze_gym_wrap.py:56-62")
STRICT = Predicate(
    "pointmaze/strict",
    1,
    {"position": RADIUS},
    source="the goal lies inside the ball; half a cell, the published limit, is half the width of a corridor",
)

APPEARANCE = (
    Factor("ball.color", spaces.Box(0, 255, (3,), np.uint8), drawing.PUBLISHED.ball_color, "appearance", "RGB"),
    Factor(
        "ball.radius",
        spaces.Box(0.1, 0.3, (), np.float64),
        drawing.PUBLISHED.ball_radius,
        "appearance",
        "radius of the disc that is drawn, cells; the ball that collides keeps its own",
    ),
    Factor("wall.color", spaces.Box(0, 255, (3,), np.uint8), drawing.PUBLISHED.wall_color, "appearance", "RGB"),
    Factor(
        "floor.color",
        spaces.Box(0, 255, (3,), np.uint8),
        drawing.PUBLISHED.floor_color,
        "appearance",
        "RGB that multiplies the blue checker of the floor",
    ),
    Factor(
        "light.diffuse",
        spaces.Box(0.2, 1.0, (), np.float64),
        drawing.PUBLISHED.light,
        "appearance",
        "brightness of the headlight",
    ),
    Factor("camera.distance", spaces.Box(0.9, 1.2, (), np.float64), 1.0, "appearance", "multiple of the published one"),
    Factor(
        "camera.azimuth", spaces.Box(-20.0, 20.0, (), np.float64), 0.0, "appearance", "turn of the picture, degrees"
    ),
)
PHYSICS = (
    Factor(
        "ball.density",
        spaces.Box(800.0, 2000.0, (), np.float64),  # at 500, balls of full speed pass the corners of walls
        physics.DENSITY,
        "physics",
        "of the ball, kg per cubic cell; the force stays",
    ),
    Factor("joint.damping", spaces.Box(0.0, 10.0, (), np.float64), physics.DAMPING, "physics", "N per cell a second"),
)


class PointMazeEnv(GoalEnv):
    """A ball that is pushed through a maze to a place seen from above.

    ## Description
    The U-maze of D4RL as DINO-WM and jepa-wms use it: a heavy ball on frictionless ground, driven by a force. It
    takes about half a cell to stop from full speed. Lengths are cells, times seconds, a step is 0.05 s. ``maze``
    chooses ``umaze`` (published), ``open``, ``medium`` or ``large``, the other layouts of D4RL.

    ## Action space
    ``Box(-1, 1, (2,), float32)``: force along x and y, one unit is 100 N on a ball of 4.19 kg; clipped to the box.

    ## Observation space
    A state is (x, y, vx, vy); a free ball has x and y in [0.4, 3.2] in the U-maze. ``pixels``: ``pixels`` and
    ``goal_pixels`` (image_size, image_size, 3) uint8, columns along x and rows along y, ``proprio`` and
    ``goal_proprio`` (4,) float32, the state. ``state``: ``observation`` (4,) the state, ``achieved_goal`` and
    ``desired_goal`` (2,) the positions, float32.

    ## Goal and success
    Distance of the positions below 0.5 (``pointmaze/published@1``); ``pointmaze/strict@1`` asks for 0.1. The
    velocity that the goal state has is shown in ``goal_proprio`` and not judged.

    ## Rewards
    0 on success, -1 otherwise. Differs from the reference: there the reward is always 0.

    ## Starting state
    Positions uniform in the free space less a margin of 0.2, velocities uniform in +-5.2262554 on each axis, for the
    start and the goal alike, from ``numpy.random.RandomState(seed)``. ``start_velocity="rest"`` sets velocities to
    zero.

    ## Episode end
    A step limit of 30 (five primitive steps for each of six model steps) in the U-maze, from the registration.

    ## Source
    jepa-wms (commit 6eafb14) ``pointmaze_gym_wrap.py``, ``pointmaze_env/``; DINO-WM, arXiv 2411.04983; D4RL,
    arXiv 2004.07219. Differs from the reference: MuJoCo's own bindings instead of mujoco-py (after a contact,
    positions differ by about 0.01), the camera is fixed instead of depending on where the ball is at the first
    picture of a process, and the solver starts cold in every step (less than 1e-12).

    ## Version history
    v0: first version.

    Args:
        maze: the layout.
        start_velocity: ``random`` as published, or ``rest``.
        **settings: those of every environment.
    """

    predicates: ClassVar[tuple[Predicate, ...]] = (PUBLISHED, STRICT)
    frameskip: ClassVar[int] = 5
    state_dim: int = 4
    action_dim: ClassVar[int] = 2
    behaviour_std: ClassVar[float] = 1 / np.sqrt(3)
    observation_options: ClassVar[tuple[str, ...]] = ("render_quality",)
    factors: ClassVar[tuple[Factor, ...]] = (*APPEARANCE, *PHYSICS)

    def __init__(self, *, maze: str = "umaze", start_velocity: Literal["random", "rest"] = "random", **settings: Any):
        choose("maze", maze, MAZES)
        choose("start_velocity", start_velocity, START_VELOCITIES)
        self.maze, self.start_velocity = MAZES[maze], start_velocity
        low, high = (bound.tolist() for bound in self.maze.bounds)  # the ball sinks into walls a little
        self.state_bounds = (
            (*(value - RADIUS for value in low), -SPEED_BOUND, -SPEED_BOUND),
            (*(value + RADIUS for value in high), SPEED_BOUND, SPEED_BOUND),
        )
        self._world_in_use: physics.World | None = None
        self._painters: dict[tuple[int, str], drawing.Painter] = {}
        super().__init__(**settings)

    def sample_states(self, seed: int) -> tuple[State, State]:
        """Start and goal that belong to ``seed``."""
        return sampler.sample_states(self.maze, seed, self.start_velocity == "rest")

    def simulate(self, states: ArrayLike, actions: ArrayLike) -> State:
        """True dynamics for states (..., 4) and actions (..., T, 2), as states (..., T, 4)."""
        return self._world().simulate(states, actions)

    def distances(self, states: ArrayLike, goal_state: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """``position``: Euclidean distance to the goal's position, cells."""
        return self.goal_distances(np.asarray(states, np.float64)[..., :2], np.asarray(goal_state)[..., :2])

    def goal_distances(self, achieved: ArrayLike, desired: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """As :meth:`distances`: a goal is a position."""
        difference = np.asarray(achieved, np.float64) - np.asarray(desired, np.float64)
        return {"position": np.hypot(difference[..., 0], difference[..., 1])}

    def draw(self, state: State, size: int) -> NDArray[np.uint8]:
        """Pictures (..., size, size, 3) of states (..., 4); velocities do not show."""
        style = drawing.Style(
            ball_color=self.factor("ball.color"),
            ball_radius=self.factor("ball.radius"),
            wall_color=self.factor("wall.color"),
            floor_color=self.factor("floor.color"),
            light=self.factor("light.diffuse"),
            camera_distance=self.factor("camera.distance"),
            camera_azimuth=self.factor("camera.azimuth"),
        )
        return self._painter(size).draw(np.asarray(state, np.float64)[..., :2], style)

    def proprio(self, state: State) -> NDArray[np.float32]:
        """Position and velocity."""
        return np.asarray(state, dtype=np.float32).copy()

    def achieved(self, state: State) -> NDArray[np.float32]:
        """The position."""
        return np.asarray(state, dtype=np.float32)[..., :2].copy()

    def check_state(self, state: State) -> None:
        """The ball must lie in the free space and be no faster than force and walls can make it."""
        clearance = float(self.maze.clearance(state[:2]))
        if clearance < MIN_CLEARANCE:
            i, j = self.maze.cell(state[:2])
            raise InvalidState(
                f"its position lies in or at a wall of the maze {self.maze.name} (cell {i}, {j}, which is centred at "
                f"x={i + CELL_ORIGIN:.1f}, y={j + CELL_ORIGIN:.1f}); keep at least {MIN_CLEARANCE} from walls."
            )
        step = physics.TIMESTEP * physics.SUBSTEPS
        fastest = physics.MAX_SPEED + step * physics.GEAR / self._body().mass + REBOUND
        if np.abs(state[2:]).max() > fastest:
            raise InvalidState(f"velocities must lie between -{fastest:.2f} and {fastest:.2f}.")

    def expert_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The scripted oracle's action, (2,): along the shortest way, stopping at the goal."""
        return controllers.expert_action(state, goal_state, self.maze, self._body())

    def straight_line_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The action of a driver that ignores the walls, (2,)."""
        return controllers.straight_line_action(state, goal_state, self._body())

    def random_episode(self, random: np.random.Generator, steps: int) -> tuple[State, NDArray[np.float64]]:
        """One episode of the published behaviour data: a sampled start, independent forces uniform in +-1."""
        start, _ = self.sample_states(int(random.integers(2**32 - 1)))
        actions = random.uniform(-1.0, 1.0, (steps, self.action_dim))
        return np.concatenate([start[None], self.simulate(start, actions)]), actions

    def difficulty(self, init_state: ArrayLike, goal_state: ArrayLike) -> dict[str, float]:
        """Length of the straight line and of the shortest way through the maze, cells."""
        init, goal = np.asarray(init_state, np.float64)[:2], np.asarray(goal_state, np.float64)[:2]
        return {
            "euclidean": float(np.hypot(*(goal - init))),
            "geodesic": paths.path_length(self.maze, init, goal),
        }

    def close(self) -> None:
        """Free the OpenGL contexts; a later picture creates new ones."""
        for painter in self._painters.values():
            painter.close()
        self._painters.clear()

    def _body(self) -> physics.Body:
        return physics.Body(density=self.factor("ball.density"), damping=self.factor("joint.damping"))

    def _world(self) -> physics.World:
        body = self._body()
        if self._world_in_use is None or self._world_in_use.body != body:
            self._world_in_use = physics.World(self.maze, body)
        return self._world_in_use

    def _painter(self, size: int) -> drawing.Painter:
        key = (int(size), self.render_quality)
        if key not in self._painters:
            if len(self._painters) >= 4:
                self.close()  # sizes come one at a time; contexts are large
            quality = "fast" if self.render_quality == "fast" else "paper"
            self._painters[key] = drawing.Painter(self.maze, int(size), quality)
        return self._painters[key]

    def _forget_simulator(self, attributes: dict[str, Any]) -> None:
        attributes["_world_in_use"], attributes["_painters"] = None, {}
