"""``JepaWM/PushT-v0``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.errors import InvalidState, choose
from jepawm_envs.factors import Factor
from jepawm_envs.goal_env import GoalEnv, State
from jepawm_envs.predicates import Predicate
from jepawm_envs.pusht import behaviour, drawing, oracle, physics
from jepawm_envs.pusht.drawing_fast import draw_fast
from jepawm_envs.pusht.shapes import SHAPES

POSITION_LIMIT, ANGLE_LIMIT = 20.0, math.pi / 9  # pusht_gym_wrap.py:57-71

PUBLISHED = Predicate(
    "pusht/published",
    1,
    {"position": POSITION_LIMIT, "angle": ANGLE_LIMIT},
    source="jepa-wms pusht_gym_wrap.py:57-71: pusher and block together within 20 px, block within 20 degrees",
)
BLOCK = Predicate(
    "pusht/block",
    1,
    {"block": POSITION_LIMIT, "angle": ANGLE_LIMIT},
    source="the published limits for the block alone: where the pusher ends does not count",
)
STRICT = Predicate(
    "pusht/strict",
    1,
    {"position": POSITION_LIMIT / 2, "angle": ANGLE_LIMIT / 2},
    source="half the published limits: a third of the width of the T's bar, and 13 px at the end of its stem",
)

PUSHER_FARTHEST = 1e4
"""Bound of the pusher's coordinates in a given state, pixels: walls do not stop it, and with full actions one way it
needs some 260 steps to get there."""
BLOCK_TOLERANCE = 20.0
"""Pixels beyond the middle lines of the walls in which the block's origin may lie: a pusher presses it into them, 7 px
deep in recorded states. Further out are only blocks that were squeezed through a wall."""
FASTEST = 2000.0
"""Bound of the pusher's velocity on each axis, px/s. Actions in [-1, 1] reach 377, and ``a`` times as much those that
are ``a`` times as large; this is for targets at the other end of the canvas, 5.12 units away."""
FARTHEST = 1e5
"""Bound of positions and velocities in the declared spaces, far beyond what an episode reaches from any start."""

_PLACES = [FARTHEST] * 4


def _color(name: str, default: drawing.Color, summary: str) -> Factor:
    return Factor(name, spaces.Box(0, 255, (3,), np.uint8), default, "appearance", summary)


def _number(name: str, low: float, high: float, default: float, summary: str) -> Factor:
    return Factor(name, spaces.Box(low, high, (), np.float64), default, "physics", summary)


class PushTEnv(GoalEnv):
    """A round pusher and a block that is to be brought, with the pusher, into the pose of the goal.

    ## Description
    The Push-T task of Diffusion Policy and DINO-WM, as evaluated in jepa-wms. Lengths are pixels of a 512 x 512
    canvas, x to the right, y down. The pusher is kinematic: a PD controller moves it towards its target at 100 Hz,
    and nothing stops it, walls neither. The block slides without friction and stops at once when not pushed.
    ``shape`` chooses the block: T, L, Z, square, I, small_tee or +.

    ## Action space
    ``Box(-1, 1, (2,), float32)``: target of the pusher relative to where it is, in units of 100 pixels, held for
    0.1 s. As in the published environment the bounds are declared, not enforced.

    ## Observation space
    ``pixels``: ``pixels`` and ``goal_pixels`` (image_size, image_size, 3) uint8, ``proprio`` and ``goal_proprio``
    (4,) float32: the pusher's position and velocity. ``state``: ``observation`` (7,) float32: pusher x, y, block x,
    y, block angle in [0, 2 pi), pusher velocity x, y; ``achieved_goal`` and ``desired_goal`` (6,) float32: pusher
    x, y, block x, y, cosine and sine of the block's angle. Positions have no natural bounds, since the pusher can
    leave the arena; the declared ones are far away.

    ## Goal and success
    ``pusht/published@1``: positions of pusher and block, together as one vector of four, within 20 px, and the
    block's angle within 20 degrees. ``pusht/block@1`` leaves the pusher out, ``pusht/strict@1`` halves the limits.

    ## Rewards
    0 on success, -1 otherwise. Differs from the reference: there the reward is the coverage of a silhouette that is
    not the episode's goal.

    ## Starting state
    ``sample_states``: pusher anywhere in [50, 450), block in [100, 400), whole pixels, angle normal with deviation
    2 pi, less pi, drawn from ``numpy.random.RandomState(seed)``. An episode that is asked to begin in a state begins
    after one substep of 0.01 s, as in the reference: the pusher has moved by a hundredth of its velocity.
    Published evaluations take start and goal from replayed demonstrations instead.

    ## Episode end
    A step limit of 30 (five primitive steps for each of six model steps), from the registration.

    ## Source
    jepa-wms (commit 6eafb14) ``pusht_gym_wrap.py``, ``pusht_env/``; DINO-WM, arXiv 2411.04983; Diffusion Policy,
    arXiv 2303.04137. Differs from the reference: angles are compared on the circle, where the reference's formula
    lets any pair pass whose unwrapped difference exceeds a full turn (the sampler gives such pairs); contact marks
    are not drawn (:mod:`jepawm_envs.pusht.drawing`).

    ## Version history
    v0: first version.

    Args:
        shape: name of the block.
        **settings: of every environment, see :class:`jepawm_envs.goal_env.GoalEnv`.

    Raises:
        InvalidOption: for an unknown shape.
    """

    predicates: ClassVar[tuple[Predicate, ...]] = (PUBLISHED, BLOCK, STRICT)
    frameskip: ClassVar[int] = 5
    state_dim = 7
    state_bounds = (
        (*(-x for x in _PLACES), 0.0, -FARTHEST, -FARTHEST),
        (*_PLACES, physics.TWO_PI, FARTHEST, FARTHEST),
    )
    goal_bounds = ((*(-x for x in _PLACES), -1.0, -1.0), (*_PLACES, 1.0, 1.0))
    action_dim: ClassVar[int] = 2
    behaviour_std: ClassVar[float] = 0.2
    observation_options: ClassVar[tuple[str, ...]] = ("render_quality",)
    distance_name: ClassVar[str | None] = "position"
    has_hidden_state: ClassVar[bool] = True
    factors: ClassVar[tuple[Factor, ...]] = (
        _color("agent.color", drawing.LOOK.agent, "RGB of the pusher"),
        _color("block.color", drawing.LOOK.block, "RGB of the block's outline; its filling is lighter"),
        _color("background.color", drawing.LOOK.background, "RGB of the floor"),
        _color("goal.color", drawing.LOOK.goal, "RGB of the silhouette on the floor"),
        Factor("goal.shown", spaces.Discrete(2), 1, "appearance", "whether the silhouette on the floor is drawn"),
        _number("agent.radius", 8.0, 24.0, physics.AGENT_RADIUS, "radius of the pusher, pixels"),
        _number("block.mass", 0.25, 4.0, 1.0, "mass of the block, its moment of inertia unchanged"),
        _number("block.scale", 0.7, 1.3, 1.0, "size of the block relative to the published one"),
        _number("friction", 0.0, 1.0, 0.0, "friction coefficient of all contacts"),
    )

    def __init__(self, *, shape: str = "T", **settings: Any):
        choose("shape", shape, SHAPES)
        self.shape = shape
        self._live: physics.Simulator | None = None
        self._spare: physics.Simulator | None = None
        super().__init__(**settings)

    @property
    def world(self) -> physics.World:
        """Shape and physical parameters in force."""
        return physics.World(
            self.shape,
            agent_radius=self.factor("agent.radius"),
            block_mass=self.factor("block.mass"),
            friction=self.factor("friction"),
            block_scale=self.factor("block.scale"),
        )

    def sample_states(self, seed: int) -> tuple[State, State]:
        """Start and goal that belong to ``seed`` (``pusht_gym_wrap.py:19-52``); angles are not wrapped."""
        random = np.random.RandomState(seed)
        init, goal = (self._sample_state(random) for _ in range(2))
        return init, goal

    @staticmethod
    def _sample_state(random: np.random.RandomState) -> State:
        agent = random.randint(50, 450), random.randint(50, 450)
        block = random.randint(100, 400), random.randint(100, 400)
        angle = random.randn() * 2 * np.pi - np.pi
        return np.array([*agent, *block, angle, 0.0, 0.0], dtype=np.float64)

    def start(self, state: State) -> State:
        """The state after the reference's preparation: one substep of 0.01 s."""
        return physics.prepare(self._simulator(), np.asarray(state, np.float64))

    def simulate(self, states: ArrayLike, actions: ArrayLike) -> State:
        """True dynamics for states (..., 7) and actions (..., T, 2), states (..., T, 7).

        Starts from exactly the given states. A running episode remembers more (the block's velocity within a
        contact), so from the states of an episode this is a close approximation of how it goes on.
        """
        return physics.simulate(self._simulator(), np.asarray(states, np.float64), np.asarray(actions, np.float64))

    def _begin(self, init: State) -> State:
        self._live = physics.Simulator(self.world)
        return physics.prepare(self._live, init)

    def _advance(self, action: NDArray[np.float64]) -> State:
        assert self._live is not None
        self._live.step(action)
        return self._live.state

    def _simulator(self) -> physics.Simulator:
        """A simulator apart from the running episode."""
        if self._spare is None or self._spare.world != self.world:
            self._spare = physics.Simulator(self.world)
        return self._spare

    def _forget_simulator(self, attributes: dict[str, Any]) -> None:
        attributes["_live"] = attributes["_spare"] = None

    def close(self) -> None:
        """Drop the simulators."""
        self._live = self._spare = None
        self._copied = self._state is not None  # a further step replays the episode
        super().close()

    def distances(self, states: ArrayLike, goal_state: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """``position``: pusher and block as one vector of four, pixels; ``angle``: radians on the circle; ``block``."""
        states, goal = np.asarray(states, np.float64), np.asarray(goal_state, np.float64)
        return _distances(states[..., :4] - goal[..., :4], states[..., 4] - goal[..., 4])

    def goal_distances(self, achieved: ArrayLike, desired: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """As :meth:`distances`, for goals (..., 6)."""
        achieved, desired = np.asarray(achieved, np.float64), np.asarray(desired, np.float64)
        angles = (np.arctan2(goal[..., 5], goal[..., 4]) for goal in (achieved, desired))
        turned = next(angles) - next(angles)
        return _distances(achieved[..., :4] - desired[..., :4], turned)

    def planning_cost(self, states: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """Squares of the published quantities in units of their limits, summed."""
        distances = self.distances(states, goal_state)
        return (distances["position"] / POSITION_LIMIT) ** 2 + (distances["angle"] / ANGLE_LIMIT) ** 2

    def draw(self, state: State, size: int) -> NDArray[np.uint8]:
        """Pictures (..., size, size, 3) of states (..., 7); cheaper and nearly the same with ``fast`` quality."""
        look = drawing.Look(
            world=self.world,
            background=self.factor("background.color"),
            goal=self.factor("goal.color"),
            block=self.factor("block.color"),
            agent=self.factor("agent.color"),
            goal_shown=bool(self.factor("goal.shown")),
        )
        return (draw_fast if self.render_quality == "fast" else drawing.draw)(state, size, look)

    def proprio(self, state: State) -> NDArray[np.float32]:
        """The pusher's position and velocity."""
        return np.asarray(state, dtype=np.float32)[..., [0, 1, 5, 6]]

    def achieved(self, state: State) -> NDArray[np.float32]:
        """Positions of pusher and block, cosine and sine of the block's angle."""
        state = np.asarray(state, np.float64)
        angle = state[..., 4:5]
        return np.concatenate([state[..., :4], np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)

    def check_state(self, state: State) -> None:
        """The block must lie within the walls, the pusher not too far off and no faster than targets can make it.

        Held hard against the block for several steps, a pusher can squeeze it through a wall. The states in which the
        block is outside are refused as starts and goals.
        """
        inside = physics.WALL_NEAR - BLOCK_TOLERANCE, physics.WALL_FAR + BLOCK_TOLERANCE
        limits = (("pusher", state[:2], (-PUSHER_FARTHEST, PUSHER_FARTHEST)), ("block", state[2:4], inside))
        for name, place, (low, high) in limits:
            if place.min() < low or place.max() > high:
                raise InvalidState(f"the {name} must have both coordinates between {low:g} and {high:g}.")
        if np.abs(state[5:]).max() > FASTEST:
            raise InvalidState(f"the pusher cannot move faster than {FASTEST:g} pixels a second along an axis.")

    def expert_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The scripted oracle's action, (2,); see :mod:`jepawm_envs.pusht.oracle`."""
        return oracle.expert_action(
            np.asarray(state, np.float64), np.asarray(goal_state, np.float64), self._simulator()
        )

    def straight_line_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The action of a pusher that walks straight to where it shall end, whatever is between, (2,)."""
        return oracle.straight_line_action(np.asarray(state, np.float64), np.asarray(goal_state, np.float64))

    def random_episode(self, random: np.random.Generator, steps: int) -> tuple[State, NDArray[np.float64]]:
        """One episode of scripted pushing with noise; see :mod:`jepawm_envs.pusht.behaviour`."""
        return behaviour.random_episode(random, steps, self._simulator())

    def difficulty(self, init_state: ArrayLike, goal_state: ArrayLike) -> dict[str, float]:
        """Distances to the goal, pixels and radians; nothing is in the way, so ``geodesic`` is ``euclidean``."""
        distances = {key: float(value) for key, value in self.distances(init_state, goal_state).items()}
        position = distances.pop("position")
        return {"euclidean": position, "geodesic": position, **distances}


def _distances(places: NDArray[np.float64], turned: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    angle = np.abs((turned + np.pi) % (2 * np.pi) - np.pi)
    position = np.sqrt(np.square(places).sum(axis=-1))
    return {"position": position, "angle": angle, "block": np.hypot(places[..., 2], places[..., 3])}
