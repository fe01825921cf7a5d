"""``JepaWM/Wall-v0``."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.errors import InvalidState
from jepawm_envs.factors import Factor
from jepawm_envs.goal_env import GoalEnv, State
from jepawm_envs.predicates import Predicate
from jepawm_envs.wall import controllers, drawing, physics, walks

DOT_MARGIN = 2 * physics.ROOM.dot_std  # wall.py:37-38
ANY_Y = (physics.ROOM.border[0] + DOT_MARGIN, physics.ROOM.border[1] - DOT_MARGIN)  # 7.4 to 56.6

PUBLISHED = Predicate("wall/published", 1, {"position": 4.5}, source="jepa-wms wall_gym_wrap.py:60-66")
STRICT = Predicate(
    "wall/strict", 1, {"position": 1.41}, source="PLDM's rule, mean squared error of (x, y) below 1, arXiv 2502.14819"
)

APPEARANCE = (
    Factor("dot.color", spaces.Box(0, 255, (3,), np.uint8), drawing.COLORS.dot, "appearance", "RGB of the dot"),
    Factor("dot.std", spaces.Box(0.8, 3.0, (), np.float64), physics.ROOM.dot_std, "appearance", "size of the dot, px"),
    Factor("wall.color", spaces.Box(0, 255, (3,), np.uint8), drawing.COLORS.wall, "appearance", "RGB of the walls"),
    Factor("floor.color", spaces.Box(0, 255, (3,), np.uint8), drawing.COLORS.floor, "appearance", "RGB of the floor"),
)
# The widest wall and door at every place leave both rooms wider than the sampler's margins.
LAYOUT = (
    Factor("wall.x", spaces.Discrete(25, start=20), physics.ROOM.wall_x, "physics", "middle of the wall, px"),
    Factor(
        "wall.half_width",
        spaces.Discrete(5, start=1),
        physics.ROOM.wall_half_width,
        "physics",
        "from the wall's middle to a face, px",
    ),
    Factor("door.y", spaces.Discrete(37, start=14), physics.ROOM.door_y, "physics", "middle of the door, px"),
    Factor(
        "door.half_height",
        spaces.Discrete(6, start=3),
        physics.ROOM.door_half_height,
        "physics",
        "from the door's middle to an edge, px",
    ),
)


class WallEnv(GoalEnv):
    """A dot, two rooms and a wall with one door between them.

    ## Description
    The dot of the Wall task of DINO-WM, as evaluated in jepa-wms. Start and goal always lie in opposite rooms.
    Lengths are pixels of a 65 x 65 canvas, x to the right, y down. Walls stop the dot where its path meets
    them and kick it back by half a pixel, and by half a pixel towards +x or +y along the wall.

    ## Action space
    ``Box(-1, 1, (2,), float32)``: (dx, dy) in units of two pixels. As in the published environment the bounds
    are those declared, not enforced: its data has steps up to 1.8 and planners go beyond.

    ## Observation space
    ``pixels``: ``pixels`` and ``goal_pixels`` (image_size, image_size, 3) uint8, ``proprio`` and
    ``goal_proprio`` (2,) float32, the dot's position. ``state``: ``observation``, ``achieved_goal`` and
    ``desired_goal``, (2,) float32, positions.

    ## Goal and success
    Distance to the goal below 4.5 pixels (``wall/published@1``); ``wall/strict@1`` asks for 1.41.

    ## Rewards
    0 on success, -1 otherwise. Differs from the reference: there the reward is always 0.

    ## Starting state
    One room's x in [7.4, 25.6], the other's in [38.4, 56.6], y in [7.4, 56.6], uniform, sides swapped with
    probability one half, drawn from ``numpy.random.RandomState(seed)``.

    ## Episode end
    A step limit of 30 (five primitive steps for each of six model steps), from the registration.

    ## Factors
    Appearance: ``dot.color``, ``dot.std``, ``wall.color``, ``floor.color``. Layout: ``wall.x``,
    ``wall.half_width``, ``door.y``, ``door.half_height``; the sampler then keeps its margins to the moved wall. A
    start or goal that is given must be free in the layout of its episode.

    ## Source
    jepa-wms (commit 6eafb14) ``wall_gym_wrap.py``, ``wall_env/``; DINO-WM, arXiv 2411.04983.
    Differs from the reference: exactly vertical steps (a division by zero there) are computed as the limit
    they have; ``image_size`` is honoured. As in the reference, steps far longer than those of the data (more
    than three times) can pass a line that is not tested, such as the far border seen through the door.

    ## Version history
    v0: first version.
    """

    predicates: ClassVar[tuple[Predicate, ...]] = (PUBLISHED, STRICT)
    frameskip: ClassVar[int] = 5
    state_dim = 2
    state_bounds = ((0.0, 0.0), (float(physics.ROOM.size), float(physics.ROOM.size)))
    action_dim: ClassVar[int] = 2
    behaviour_std: ClassVar[float] = 0.75
    factors: ClassVar[tuple[Factor, ...]] = (*APPEARANCE, *LAYOUT)

    @property
    def room(self) -> physics.Room:
        """The layout of this episode."""
        if not self.factors_in_force:
            return physics.ROOM
        return physics.Room(
            wall_x=self.factor("wall.x"),
            wall_half_width=self.factor("wall.half_width"),
            door_y=self.factor("door.y"),
            door_half_height=self.factor("door.half_height"),
            dot_std=self.factor("dot.std"),
        )

    @property
    def colors(self) -> drawing.Colors:
        """The colours of this episode."""
        return drawing.Colors(self.factor("dot.color"), self.factor("wall.color"), self.factor("floor.color"))

    def sample_states(self, seed: int) -> tuple[State, State]:
        """Start and goal that belong to ``seed`` (``wall.py:135-154``)."""
        room = self.room
        random = np.random.RandomState(seed)
        start_x = random.uniform(room.border[0] + DOT_MARGIN, room.wall_faces[0] - DOT_MARGIN)  # 7.4 to 25.6
        target_x = random.uniform(room.wall_faces[1] + DOT_MARGIN, room.border[1] - DOT_MARGIN)  # 38.4 to 56.6
        start_y = random.uniform(*ANY_Y)
        target_y = random.uniform(*ANY_Y)
        if random.uniform() < 0.5:
            start_x, target_x = target_x, start_x
        return np.array([start_x, start_y]), np.array([target_x, target_y])

    def simulate(self, states: ArrayLike, actions: ArrayLike) -> State:
        """True dynamics for states (..., 2) and actions (..., T, 2), as positions (..., T, 2)."""
        return physics.simulate(np.asarray(states, np.float64), np.asarray(actions, np.float64), self.room)

    def distances(self, states: ArrayLike, goal_state: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """``position``: Euclidean distance to the goal, pixels."""
        difference = np.asarray(states, np.float64) - np.asarray(goal_state, np.float64)
        return {"position": np.hypot(difference[..., 0], difference[..., 1])}

    def goal_distances(self, achieved: ArrayLike, desired: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """As :meth:`distances`: a goal is a position."""
        return self.distances(achieved, desired)

    def draw(self, state: State, size: int) -> NDArray[np.uint8]:
        """Pictures (..., size, size, 3) of states (..., 2); the dot is drawn under the walls."""
        return drawing.draw(state, size, self.room, self.colors)

    def proprio(self, state: State) -> NDArray[np.float32]:
        """The position itself."""
        return np.asarray(state, dtype=np.float32).copy()

    achieved = proprio

    def check_state(self, state: State) -> None:
        """The dot must lie between the borders, and not inside the wall."""
        room = self.room
        low, high = room.border
        if not (low <= state.min() and state.max() <= high):
            raise InvalidState(f"both coordinates must lie between {low} and {high}.")
        left, right = room.wall_faces
        upper, lower = room.door
        if left < state[0] < right and not upper <= state[1] <= lower:
            raise InvalidState(f"it lies in the wall (x {left} to {right}, door from y {upper} to {lower}).")

    def expert_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The scripted oracle's action, (2,): through the door to the goal."""
        return controllers.expert_action(state, goal_state, self.room)

    def straight_line_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The action of a walker that ignores the wall, (2,)."""
        return controllers.straight_line_action(state, goal_state)

    def random_episode(self, random: np.random.Generator, steps: int) -> tuple[State, NDArray[np.float64]]:
        """One episode of the published behaviour data; see :mod:`jepawm_envs.wall.walks`."""
        start = walks.random_start(random, self.room)
        actions = walks.random_walk(random, steps)
        return np.concatenate([start[None], self.simulate(start, actions)]), actions

    def difficulty(self, init_state: ArrayLike, goal_state: ArrayLike) -> dict[str, float]:
        """Length of the straight line and of the shortest way through the door, pixels."""
        straight = self.distances(init_state, goal_state)["position"]
        return {"euclidean": float(straight), "geodesic": controllers.path_length(init_state, goal_state, self.room)}
