"""``JepaWM/TwoRooms-v0``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.errors import InvalidOption, InvalidState, choose
from jepawm_envs.factors import Factor
from jepawm_envs.goal_env import MAX_SEED, GoalEnv, State, read_numbers
from jepawm_envs.predicates import Predicate
from jepawm_envs.tworooms import controllers, drawing, physics, sampler, walks
from jepawm_envs.wall.drawing import COLORS, PAPER_SIZE, Colors
from jepawm_envs.wall.physics import ROOM

Channels = Literal["rgb", "two"]
CHANNELS = ("rgb", "two")
MAX_ACTION = 2.45  # env.py:24, 55-57
MAX_JITTER = 5.0

PUBLISHED = Predicate("tworooms/published", 1, {"position": 4.5}, source="EB-JEPA two_rooms/env.py:106-116")
STRICT = Predicate(
    "tworooms/strict",
    1,
    {"position": 1.41},
    source="PLDM's rule, mean squared error of (x, y) below 1, arXiv 2502.14819",
)

FACTORS = (
    Factor("dot.color", spaces.Box(0, 255, (3,), np.uint8), COLORS.dot, "appearance", "RGB of the dot"),
    Factor("dot.std", spaces.Box(0.8, 3.0, (), np.float64), physics.DOT_STD, "appearance", "size of the dot, px"),
    Factor("wall.color", spaces.Box(0, 255, (3,), np.uint8), COLORS.wall, "appearance", "RGB of the walls"),
    Factor("floor.color", spaces.Box(0, 255, (3,), np.uint8), COLORS.floor, "appearance", "RGB of the floor"),
)


class TwoRoomsEnv(GoalEnv):
    """A dot, two rooms and a wall with one door; wall and door are elsewhere in every task.

    ## Description
    The Two Rooms task of PLDM as evaluated by EB-JEPA. Lengths are pixels of a 65 x 65 canvas, x to the right, y
    down. A state is (x, y, wall_x, door_y): a task carries its layout. The wall is 3 px thick, the door 8 px high;
    wall_x is a whole number from 20 to 44, door_y from 10 to 54. A wall stops the dot where its path meets it.

    ## Action space
    ``Box(-2.45, 2.45, (2,), float32)``: displacement (dx, dy), pixels. As in the published environment the bounds
    are declared, not enforced, unless made with ``clip_actions=True``; its data has steps up to 1.8.

    ## Observation space
    ``pixels``: ``pixels`` and ``goal_pixels``, uint8, (image_size, image_size, 3), or with ``channels="two"`` the
    published dot and wall channels, (image_size, image_size, 2), exact at the native image_size of 65 (the default
    with two channels; 224 in colour); ``proprio`` and ``goal_proprio`` (2,) float32, the dot's position. ``state``:
    ``observation`` (4,), ``achieved_goal`` and ``desired_goal`` (2,), float32; goals are positions.

    ## Goal and success
    Distance to the goal below 4.5 pixels (``tworooms/published@1``); ``tworooms/strict@1`` asks for 1.41. The
    published evaluation looks after the last of 200 steps.

    ## Rewards
    0 on success, -1 otherwise.

    ## Starting state
    A random layout; one end of the task with x in [6.6, wall_x - 3.6], the other in [wall_x + 3.6, 57.4], y in
    [6.6, 57.4], uniform, sides swapped with probability one half. ``sample_states(seed)`` is the first task of
    ``numpy.random.default_rng(seed)``; the 20 published tasks are ``sample_sequence(0, 20)``, one after the other.
    ``init_state`` and ``goal_state`` are (x, y, wall_x, door_y) or (x, y), then with the layout of the other one, or
    that of the seed. If one is missing, it lies in the other room of the same layout.

    ## Episode end
    A step limit of 200, from the registration.

    ## Options
    ``jitter``: deviation of where a contact leaves the dot, pixels; the published environment has 0.5 and draws it
    from a global generator. Here it is off by default, and if on comes from a generator of the environment's own,
    started by the seed of ``reset``; ``simulate`` never has it, for no planner can know it.
    ``collisions="stop"``: the rule of the published data generator, where a step that meets a wall does not move the
    dot; here data and environment follow one rule, ``bounce`` unless asked for.

    ## Factors
    Appearance: ``dot.color``, ``wall.color``, ``floor.color`` (in colour only) and ``dot.std``. The layout belongs to
    the task.

    ## Source
    EB-JEPA (commit 966e61e) ``datasets/two_rooms/``, arXiv 2602.03604; PLDM, arXiv 2502.14819. Differs from the
    reference: no jitter by default; a step that passes the door and the far border at once ends at that border.

    ## Version history
    v0: first version.
    """

    predicates: ClassVar[tuple[Predicate, ...]] = (PUBLISHED, STRICT)
    frameskip: ClassVar[int] = 1
    state_dim = 4
    state_bounds = (
        (0.0, 0.0, physics.WALL_X[0], physics.DOOR_Y[0]),
        (float(ROOM.size), float(ROOM.size), physics.WALL_X[1], physics.DOOR_Y[1]),
    )
    action_dim: ClassVar[int] = 2
    action_bounds: ClassVar[tuple[float, float]] = (-MAX_ACTION, MAX_ACTION)
    behaviour_std: ClassVar[float] = 0.75
    factors: ClassVar[tuple[Factor, ...]] = FACTORS
    observation_options: ClassVar[tuple[str, ...]] = ("channels",)

    def __init__(
        self,
        *,
        channels: Channels = "rgb",
        collisions: physics.Collisions = "bounce",
        jitter: float = 0.0,
        clip_actions: bool = False,
        image_size: int | None = None,
        **settings: Any,
    ):
        choose("channels", channels, CHANNELS)
        choose("collisions", collisions, physics.COLLISIONS)
        if not isinstance(jitter, int | float) or not 0 <= jitter <= MAX_JITTER:
            raise InvalidOption(f"jitter={jitter!r} is not possible; choose 0 to {MAX_JITTER} pixels.")
        if jitter and collisions == "stop":
            raise InvalidOption('jitter moves a dot that bounces, so it cannot go with collisions="stop".')
        self.channels: Channels = channels
        self.collisions: physics.Collisions = collisions
        self.jitter, self.clip_actions = float(jitter), bool(clip_actions)
        self.image_channels = 2 if channels == "two" else 3
        if image_size is None:
            image_size = drawing.NATIVE_SIZE if channels == "two" else PAPER_SIZE
        self._noise = np.random.default_rng(0)
        super().__init__(image_size=image_size, **settings)

    def sample_states(self, seed: int) -> tuple[State, State]:
        """Start and goal that belong to ``seed``."""
        return sampler.sample_task(np.random.default_rng(seed))

    def sample_sequence(
        self, seed: int = sampler.OFFICIAL_SEED, count: int = sampler.OFFICIAL_COUNT
    ) -> list[tuple[State, State]]:
        """Starts and goals of ``count`` resets in a row, a list of pairs; by default those of the publication."""
        return sampler.sample_sequence(seed, count)

    def complete(self, init: State | None, goal: State | None, seed: int) -> tuple[State, State]:
        """Give positions a layout, and a start or goal that is missing a place in the other room."""
        if init is None and goal is None:
            return self.sample_states(seed)
        known = next((state for state in (init, goal) if state is not None and len(state) == 4), None)
        layout = (self.sample_states(seed)[0] if known is None else known)[2:]
        init = None if init is None else self._in_layout(init, layout, "init_state")
        goal = None if goal is None else self._in_layout(goal, layout, "goal_state")
        if init is None:
            assert goal is not None
            return sampler.opposite(goal, seed, "init"), goal
        return init, sampler.opposite(init, seed, "goal") if goal is None else goal

    def check_task(self, init: State, goal: State) -> None:
        """Start and goal must lie in one layout."""
        if not np.array_equal(init[2:], goal[2:]):
            raise InvalidState(
                f"init_state {init.tolist()} and goal_state {goal.tolist()} have different layouts (wall_x, door_y); "
                "give both the same, or one of them as (x, y)."
            )

    def check_state(self, state: State) -> None:
        """The layout must be a published one, and the dot in its free space."""
        for name, value, (low, high) in zip(
            ("wall_x", "door_y"), state[2:], (physics.WALL_X, physics.DOOR_Y), strict=True
        ):
            if value != round(value) or not low <= value <= high:
                raise InvalidState(f"{name} must be a whole number from {low} to {high}.")
        room = physics.room_of(state)
        low, high = room.border
        if not (low < state[:2].min() and state[:2].max() < high):
            raise InvalidState(f"x and y must lie between {low} and {high}.")
        (left, right), (upper, lower) = room.wall_faces, room.door
        if left <= state[0] <= right and not upper <= state[1] <= lower:
            raise InvalidState(f"it lies in the wall (x {left:g} to {right:g}, door from y {upper:g} to {lower:g}).")

    def simulate(self, states: ArrayLike, actions: ArrayLike) -> State:
        """True dynamics for states (..., 4) and actions (..., T, 2), as states (..., T, 4); without jitter."""
        return physics.simulate(np.asarray(states, np.float64), self._bounded(actions), self.collisions)

    def distances(self, states: ArrayLike, goal_state: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """``position``: Euclidean distance to the goal, pixels."""
        return self.goal_distances(np.asarray(states)[..., :2], np.asarray(goal_state)[..., :2])

    def goal_distances(self, achieved: ArrayLike, desired: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """As :meth:`distances`, for positions (..., 2)."""
        difference = np.asarray(achieved, np.float64) - np.asarray(desired, np.float64)
        return {"position": np.hypot(difference[..., 0], difference[..., 1])}

    def draw(self, state: State, size: int) -> NDArray[np.uint8]:
        """Pictures (..., size, size, 3) of states (..., 4)."""
        colors = Colors(self.factor("dot.color"), self.factor("wall.color"), self.factor("floor.color"))
        return drawing.draw_rgb(state, size, colors, self.factor("dot.std"))

    def observe_pixels(self, state: State, size: int) -> NDArray[np.uint8]:
        """The published two channels where asked for, else the picture."""
        if self.channels == "two":
            return drawing.draw_two_channels(state, size, self.factor("dot.std"))
        return self.draw(state, size)

    def proprio(self, state: State) -> NDArray[np.float32]:
        """The position, (..., 2)."""
        return np.asarray(state, dtype=np.float32)[..., :2].copy()

    achieved = proprio

    def expert_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The scripted oracle's action, (2,): through the door to the goal."""
        return controllers.expert_action(state, goal_state)

    def straight_line_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The action of a walker that ignores the wall, (2,)."""
        return controllers.straight_line_action(state, goal_state)

    def difficulty(self, init_state: ArrayLike, goal_state: ArrayLike) -> dict[str, float]:
        """Length of the straight line and of the shortest way through the door, pixels."""
        straight = self.distances(init_state, goal_state)["position"]
        return {"euclidean": float(straight), "geodesic": controllers.path_length(init_state, goal_state)}

    def random_episode(self, random: np.random.Generator, steps: int) -> tuple[State, NDArray[np.float64]]:
        """One episode of the published behaviour, in a random layout; see :mod:`jepawm_envs.tworooms.walks`."""
        layout = np.array(sampler.sample_layout(random), np.float64)
        start, actions = walks.random_episode(random, steps, physics.room_of(np.array([0.0, 0.0, *layout])))
        init = np.concatenate([start, layout])
        kicks = random.normal(0.0, self.jitter, actions.shape) if self.jitter else None
        path = physics.simulate(init, self._bounded(actions), self.collisions, kicks)
        return np.concatenate([init[None], path]), actions

    def _begin(self, init: State) -> State:
        if self.jitter:
            self._noise = np.random.default_rng(int(self.np_random.integers(MAX_SEED)))
        return super()._begin(init)

    def _advance(self, action: NDArray[np.float64]) -> State:
        # Drawn at every step, met or not, so that the noise of a step depends on the seed and its number alone.
        kick = self._noise.normal(0.0, self.jitter, 2) if self.jitter else None
        return physics.move(self._current(), self._bounded(action), self.collisions, kick)

    def _bounded(self, actions: ArrayLike) -> NDArray[np.float64]:
        values = np.asarray(actions, np.float64)
        return np.clip(values, -MAX_ACTION, MAX_ACTION) if self.clip_actions else values

    def _read_state(self, given: Any, name: str) -> State:
        position = read_numbers(given, name, InvalidState)
        if position.shape == (2,):
            if not np.isfinite(position).all():
                raise InvalidState(f"{name} must be finite numbers, but is {position.tolist()}.")
            return position  # its layout is known, and checked with it, in complete()
        if position.shape not in ((2,), (4,)):
            raise InvalidState(
                f"{name} must be 4 numbers (x, y, wall_x, door_y) or 2 numbers (x, y), but has shape {position.shape}: "
                f"{position.tolist()}."
            )
        return super()._read_state(position, name)

    def _in_layout(self, state: State, layout: NDArray[np.float64], name: str) -> State:
        return state if len(state) == 4 else super()._read_state(np.concatenate([state, layout]), name)
