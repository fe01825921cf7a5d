"""The contract of every environment of the suite: reach the goal that the observation shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepawm_envs import factors as factor_values
from jepawm_envs.errors import EnvError, InvalidAction, InvalidOption, InvalidState, choose
from jepawm_envs.factors import Factor
from jepawm_envs.lazy import Lazy, LazyDict
from jepawm_envs.predicates import Predicate

ObsType = Literal["pixels", "state"]
State = NDArray[np.float64]
Observation = dict[str, Any]

OBS_TYPES = ("pixels", "state")
RENDER_MODES = ("rgb_array",)
RENDER_QUALITIES = ("paper", "fast")
RESET_OPTIONS = ("init_state", "goal_state", "factors")
MAX_SEED = 2**32 - 1


class GoalEnv(gymnasium.Env[Observation, NDArray[Any]]):
    """A goal-conditioned environment.

    Success is never ``terminated`` unless ``terminate_on_success`` is set: it is read from ``info`` or, by the
    harness, from the record of states.

    Args:
        obs_type: ``pixels`` shows images and proprioception of now and of the goal and no privileged state;
            ``state`` shows the three keys of a goal environment, as hindsight replay buffers expect.
        image_size: height and width of images, in ``pixels`` observations and from :meth:`render`.
        render_mode: ``rgb_array`` or None.
        render_quality: ``paper``, or ``fast`` where an environment offers a cheaper picture.
        terminate_on_success: end the episode when the published predicate holds.
        factors: robustness factors that differ from the published world, for every episode: values or
            ``"sample"`` by name, a list of names to sample, or ``"all"``; sampled anew from each reset's seed.

    Raises:
        InvalidOption: for a value not listed here.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 10}  # noqa: RUF012

    predicates: ClassVar[tuple[Predicate, ...]]
    """Success rules; the first is the published one, which ``info['success']`` reports."""
    frameskip: ClassVar[int]
    """Environment steps in one action of the published world models."""
    state_dim: int
    state_bounds: tuple[Sequence[float], Sequence[float]]
    """Lowest and highest value of every entry of the state."""
    proprio_bounds: tuple[Sequence[float], Sequence[float]] | None = None
    """Of proprioception; those of the state, seen through :meth:`proprio`, when None."""
    goal_bounds: tuple[Sequence[float], Sequence[float]] | None = None
    """Of achieved goals; those of the state, seen through :meth:`achieved`, when None."""
    observation_bounds: tuple[Sequence[float], Sequence[float]] | None = None
    """Of the ``observation`` of ``state`` mode; those of the state when None."""
    action_dim: ClassVar[int]
    action_bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    """Of the declared box of actions; whether a step enforces them is the environment's affair."""
    behaviour_std: ClassVar[float] = 1.0
    """Deviation of a primitive action in the published data: the unit in which planners without data search."""
    distance_name: ClassVar[str | None] = None
    """The quantity that ``info["distance"]`` shows; the first that the published predicate limits when None."""
    image_channels: int = 3
    """Of ``pixels`` observations."""
    factors: ClassVar[tuple[Factor, ...]] = ()
    """What can differ from the published world, off by default."""
    observation_options: ClassVar[tuple[str, ...]] = ()
    """Arguments that change what is seen and nothing else; agents may choose them (``Agent.observation_options``)."""
    records_part_of_state: ClassVar[bool] = False
    """Whether :meth:`trace` gives less than the state."""
    has_hidden_state: ClassVar[bool] = False
    """Whether the simulator remembers more than the state (contacts, warm starts). Then :meth:`_begin` and
    :meth:`_advance` keep a live simulator, and copies of the environment are brought up by replaying the episode."""

    def __init__(
        self,
        *,
        obs_type: ObsType = "pixels",
        image_size: int = 224,
        render_mode: str | None = "rgb_array",
        render_quality: str = "paper",
        terminate_on_success: bool = False,
        factors: factor_values.Request = None,
    ):
        choose("obs_type", obs_type, OBS_TYPES)
        choose("render_quality", render_quality, RENDER_QUALITIES)
        if render_mode is not None:
            choose("render_mode", render_mode, RENDER_MODES)
        if not isinstance(image_size, int | np.integer) or not 8 <= image_size <= 2048:
            raise InvalidOption(f"image_size={image_size!r} is not possible; choose a whole number from 8 to 2048.")
        self.obs_type, self.image_size = obs_type, int(image_size)
        self.render_mode, self.render_quality = render_mode, render_quality
        self.terminate_on_success = terminate_on_success
        self._factor_request = factors
        self._factors = factor_values.resolve(type(self).factors, factors, seed=0)  # refuses what is unknown now
        low, high = self.action_bounds
        self.action_space = spaces.Box(low, high, (self.action_dim,), np.float32)
        self.observation_space = self._observation_space()
        self._state: State | None = None
        self._goal: State | None = None
        self._goal_image: NDArray[np.uint8] | None = None
        self._history: list[NDArray[np.float64]] = []
        self._copied = False

    # What an environment supplies ---------------------------------------------------------------------

    def sample_states(self, seed: int) -> tuple[State, State]:
        """The published sampler: start and goal state that belong to ``seed``."""
        raise NotImplementedError

    def simulate(self, states: ArrayLike, actions: ArrayLike) -> State:
        """True dynamics without side effects.

        Args:
            states: (..., S).
            actions: (..., T, A).

        Returns:
            States after every action, (..., T, S).
        """
        raise NotImplementedError

    def distances(self, states: ArrayLike, goal_state: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Errors that the predicates limit, by quantity, for states (..., S)."""
        raise NotImplementedError

    def draw(self, state: State, size: int) -> NDArray[np.uint8]:
        """RGB images (..., size, size, 3) of states (..., S)."""
        raise NotImplementedError

    def proprio(self, state: State) -> NDArray[np.float32]:
        """What the agent feels of itself, (..., Q), for states (..., S)."""
        raise NotImplementedError

    def achieved(self, state: State) -> NDArray[np.float32]:
        """The part of states (..., S) that a goal is about, (..., G)."""
        raise NotImplementedError

    def check_state(self, state: State) -> None:
        """Refuse a state that the environment cannot be in.

        Raises:
            InvalidState: saying why.
        """
        raise NotImplementedError

    def check_task(self, init: State, goal: State) -> None:
        """Refuse a start and a goal that do not belong together.

        Raises:
            InvalidState: saying why.
        """

    def start(self, state: State) -> State:
        """The state in which an episode begins that is asked to begin in ``state``; the same if nothing is said."""
        return np.array(state, dtype=np.float64)

    def complete(self, init: State | None, goal: State | None, seed: int) -> tuple[State, State]:
        """Fill in what :meth:`reset` was not given, from the published sampler."""
        if init is not None and goal is not None:
            return init, goal
        sampled_init, sampled_goal = self.sample_states(seed)
        return sampled_init if init is None else init, sampled_goal if goal is None else goal

    def task_states(self, seed: int) -> tuple[State, State]:
        """What a task list stores for ``seed``: start and goal in a form that :meth:`reset` takes."""
        return self.sample_states(seed)

    def trace(self, states: State) -> NDArray[Any]:
        """The part of states (..., S) that records keep; :meth:`distances` must be able to read it."""
        return states

    def trace_actions(self, actions: NDArray[Any]) -> NDArray[Any]:
        """What records keep of actions (..., A): no more precise than what moves the environment."""
        return actions

    def goal_distances(self, achieved: ArrayLike, desired: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """:meth:`distances` for achieved and desired goals (..., G) instead of states."""
        raise NotImplementedError

    def observe_pixels(self, state: State, size: int) -> NDArray[np.uint8]:
        """The ``pixels`` of a state, (size, size, image_channels); a drawing if nothing is said."""
        return self.draw(state, size)

    def observe_state(self, state: State) -> NDArray[np.float32]:
        """The ``observation`` of ``state`` mode, (..., O), for states (..., S)."""
        return np.asarray(state, dtype=np.float32).copy()

    def planning_cost(self, states: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """What a planner that knows the true state minimises, (...) for states (..., S); zero at the goal."""
        achieved = self.achieved(np.asarray(states, np.float64)).astype(np.float64)
        goal = self.achieved(np.asarray(goal_state, np.float64)).astype(np.float64)
        return np.square(achieved - goal).sum(axis=-1)

    def random_episode(self, random: np.random.Generator, steps: int) -> tuple[State, NDArray[np.float64]]:
        """One episode of the published behaviour data: states (steps + 1, S) and actions (steps, A)."""
        raise NotImplementedError

    # The Gymnasium interface --------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """A copy of the current state, (S,)."""
        return self._current().copy()

    @property
    def goal_state(self) -> State:
        """A copy of the goal state, (S,)."""
        self._current()
        assert self._goal is not None
        return self._goal.copy()

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of the published sampler; without it the environment's own generator chooses one.
            options: ``init_state`` and ``goal_state``, arrays (S,), a missing one is sampled; ``factors`` for
                this episode, on top of those the environment was made with.

        Raises:
            InvalidState: for a state of the wrong shape or out of the world.
            InvalidOption: for an unknown option.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        for key in given:
            choose("reset option", key, RESET_OPTIONS)
        drawn = (seed if seed is not None else int(self.np_random.integers(MAX_SEED))) % (MAX_SEED + 1)
        init, self._goal = self._new_task(given, drawn)
        self._goal_image, self._copied, self._history = None, False, [init]
        self._state = self._begin(init)
        return self._observe(), self._info()

    def step(self, action: ArrayLike) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Advance by one action (A,), in the units of the published environment, not clipped.

        Raises:
            InvalidAction: for a wrong shape or a value that is not finite.
        """
        self._current()
        values = self._read_action(action)
        if self.has_hidden_state:
            self._catch_up()
            self._history.append(values)
        self._state = self._advance(values)
        info = self._info()
        terminated = bool(self.terminate_on_success and info["success"])
        return self._observe(), float(_sparse(info["success"])), terminated, False, info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The current image, (image_size, image_size, 3), or None when made with ``render_mode=None``."""
        if self.render_mode is None:
            return None
        return self.draw(self._current(), self.image_size)

    @property
    def main_distance(self) -> str:
        """Name of the quantity that stands for all in records and in ``info["distance"]``."""
        return self.distance_name or next(iter(self.predicates[0].limits))

    def factor(self, name: str) -> Any:
        """The value of a robustness factor in this episode; its default when it is off."""
        return factor_values.value_in_force(type(self).factors, self._factors, name)

    @property
    def factors_in_force(self) -> dict[str, Any]:
        """The factors of this episode that are not at their defaults, by name."""
        return dict(self._factors)

    def is_success(self, state: ArrayLike, goal_state: ArrayLike) -> bool:
        """Whether the published predicate holds for one state."""
        return bool(self.predicates[0].met(self.distances(state, goal_state)))

    def rewards(self, states: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The rewards of steps that ended in states (..., S), (...)."""
        return _sparse(self.predicates[0].met(self.distances(states, goal_state)))

    @property
    def compute_reward(self) -> Callable[[ArrayLike, ArrayLike, Any], Any]:
        """``compute_reward(achieved_goal, desired_goal, info)``: 0 on success, else -1; goals (G,) or (..., G).

        There only in ``state`` mode: its presence is how libraries recognise a goal environment with the
        matching observation keys.
        """
        if self.obs_type != "state":
            raise AttributeError('compute_reward needs obs_type="state".')
        return self._sparse_reward

    def _sparse_reward(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any) -> Any:
        reward = _sparse(self.predicates[0].met(self.goal_distances(achieved_goal, desired_goal)))
        return reward if reward.ndim else float(reward)

    # The running episode ------------------------------------------------------------------------------

    def _begin(self, init: State) -> State:
        """Begin an episode in ``init``, (S,), and give its first state."""
        return self.start(init)

    def _advance(self, action: NDArray[np.float64]) -> State:
        """The state after one more action, (A,)."""
        return self.simulate(self._current(), action[None])[0]

    def _catch_up(self) -> None:
        """Bring the live simulator of a copy to the present by replaying the episode."""
        if self._copied:
            init, *actions = self._history
            self._begin(init)
            for action in actions:
                self._advance(action)
            self._copied = False

    def _forget_simulator(self, attributes: dict[str, Any]) -> None:
        """Take out of ``attributes`` whatever belongs to the live simulator and cannot be copied."""

    def __getstate__(self) -> dict[str, Any]:
        attributes = {**self.__dict__, "_history": list(self._history), "_copied": self.has_hidden_state}
        self._forget_simulator(attributes)
        return attributes

    # Parts --------------------------------------------------------------------------------------------

    def _new_task(self, given: Mapping[str, Any], seed: int) -> tuple[State, State]:
        """Start and goal under the new factors; a refusal leaves the running episode as it was."""
        before = self._factors
        self._factors = self._resolve_factors(given.get("factors"), seed)
        try:
            init, goal = (
                None if given.get(key) is None else self._read_state(given[key], key)
                for key in ("init_state", "goal_state")
            )
            init, goal = self.complete(init, goal, seed)
            self.check_task(init, goal)
        except Exception:
            self._factors = before
            raise
        return init, goal

    def _resolve_factors(self, requested: factor_values.Request, seed: int) -> dict[str, Any]:
        table = type(self).factors
        values = factor_values.resolve(table, self._factor_request, seed)
        for name in requested if isinstance(requested, Mapping) else ():
            values.pop(name, None)  # a default that is asked for is not in what resolve() gives
        return {**values, **factor_values.resolve(table, requested, seed)}

    def _current(self) -> State:
        if self._state is None:
            raise EnvError("The environment has no state yet; call reset() first.")
        return self._state

    def _observation_space(self) -> spaces.Dict:
        def box(view: Callable[[State], NDArray[np.float32]], bounds: Any) -> spaces.Box:
            low, high = bounds or (view(np.asarray(bound, np.float64)) for bound in self.state_bounds)
            return spaces.Box(np.asarray(low, np.float32), np.asarray(high, np.float32), dtype=np.float32)

        if self.obs_type == "state":
            goal = box(self.achieved, self.goal_bounds)
            observation = box(self.observe_state, self.observation_bounds)
            return spaces.Dict({"observation": observation, "achieved_goal": goal, "desired_goal": goal})
        image = spaces.Box(0, 255, (self.image_size, self.image_size, self.image_channels), np.uint8)
        proprio = box(self.proprio, self.proprio_bounds)
        return spaces.Dict({"pixels": image, "goal_pixels": image, "proprio": proprio, "goal_proprio": proprio})

    def _observe(self) -> Observation:
        state, goal = self.state, self.goal_state
        if self.obs_type == "state":
            return {
                "observation": self.observe_state(state),
                "achieved_goal": self.achieved(state),
                "desired_goal": self.achieved(goal),
            }
        factors = self._factors
        return LazyDict(
            pixels=Lazy(lambda: self._picture(state, factors)),
            goal_pixels=Lazy(lambda: self._goal_picture(goal, factors)),
            proprio=self.proprio(state),
            goal_proprio=self.proprio(goal),
        )

    def _picture(self, state: State, factors: dict[str, Any]) -> NDArray[np.uint8]:
        """What is shown of a state of the episode that had these factors."""
        now, self._factors = self._factors, factors
        try:
            return self.observe_pixels(state, self.image_size)
        finally:
            self._factors = now

    def _goal_picture(self, goal: State, factors: dict[str, Any]) -> NDArray[np.uint8]:
        earlier = factors is not self._factors or self._goal is None or not np.array_equal(goal, self._goal)
        if earlier:  # an observation of an earlier episode
            return self._picture(goal, factors)
        if self._goal_image is None:
            self._goal_image = self._picture(goal, factors)
        return self._goal_image.copy()

    def _info(self) -> dict[str, Any]:
        state, goal = self.state, self.goal_state
        distances = self.distances(state, goal)
        success = bool(self.predicates[0].met(distances))
        return {
            "success": success,
            "is_success": success,
            "distance": float(distances[self.main_distance]),
            "state": state,
            "goal_state": goal,
        }

    def _read_state(self, given: Any, name: str) -> State:
        """A state that the user gave, checked; ``name`` is for messages."""
        state = read_numbers(given, name, InvalidState)
        if state.shape != (self.state_dim,) or not np.isfinite(state).all():
            raise InvalidState(
                f"{name} must be {self.state_dim} finite numbers, but has shape {state.shape}: {state.tolist()}."
            )
        try:
            self.check_state(state)
        except InvalidState as problem:
            raise InvalidState(f"{name} {state.tolist()} is not possible: {problem}") from None
        return state

    def _read_action(self, action: ArrayLike) -> NDArray[np.float64]:
        values = read_numbers(action, "An action", InvalidAction)
        if values.shape != (self.action_dim,):
            raise InvalidAction(f"An action has shape ({self.action_dim},) here, not {values.shape}.")
        if not np.isfinite(values).all():
            raise InvalidAction(f"An action must be finite numbers, not {values.tolist()}.")
        return values


def read_numbers(given: Any, name: str, refusal: type[EnvError]) -> NDArray[np.float64]:
    """What a user gave as an array, copied.

    Raises:
        EnvError: of type ``refusal``, when it is not made of numbers.
    """
    try:
        return np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise refusal(f"{name} must be an array of numbers, not {given!r}.") from None


def _sparse(success: ArrayLike) -> NDArray[np.float64]:
    """0 on success and -1 otherwise."""
    return np.asarray(success, dtype=np.float64) - 1.0
