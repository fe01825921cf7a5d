"""The contract of every environment of the suite: reach the goal that the observation shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.errors import EnvError, InvalidAction, InvalidOption, InvalidState
from jepawm_envs.lazy import Lazy, LazyDict
from jepawm_envs.predicates import Predicate

ObsType = Literal["pixels", "state"]
State = NDArray[np.float64]
Observation = dict[str, Any]

OBS_TYPES = ("pixels", "state")
RENDER_MODES = ("rgb_array",)
RENDER_QUALITIES = ("paper", "fast")
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

    Raises:
        InvalidOption: for a value not listed here.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 10}  # noqa: RUF012

    predicates: ClassVar[tuple[Predicate, ...]]
    """Success rules; the first is the published one, which ``info['success']`` reports."""
    frameskip: ClassVar[int]
    """Environment steps in one action of the published world models."""
    state_dim: ClassVar[int]
    state_bounds: ClassVar[tuple[Sequence[float], Sequence[float]]]
    """Lowest and highest value of every entry of the state."""
    action_dim: ClassVar[int]

    def __init__(
        self,
        *,
        obs_type: ObsType = "pixels",
        image_size: int = 224,
        render_mode: str | None = "rgb_array",
        render_quality: str = "paper",
        terminate_on_success: bool = False,
    ):
        _choose("obs_type", obs_type, OBS_TYPES)
        _choose("render_quality", render_quality, RENDER_QUALITIES)
        if render_mode is not None:
            _choose("render_mode", render_mode, RENDER_MODES)
        if not 8 <= int(image_size) <= 2048:
            raise InvalidOption(f"image_size={image_size} is not possible; choose 8 to 2048 pixels.")
        self.obs_type, self.image_size = obs_type, int(image_size)
        self.render_mode, self.render_quality = render_mode, render_quality
        self.terminate_on_success = terminate_on_success
        self.action_space = spaces.Box(-1.0, 1.0, (self.action_dim,), np.float32)
        self.observation_space = self._observation_space()
        self._state: State | None = None
        self._goal: State | None = None
        self._goal_image: NDArray[np.uint8] | None = None

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

    def goal_distances(self, achieved: ArrayLike, desired: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """:meth:`distances` for achieved and desired goals (..., G) instead of states."""
        raise NotImplementedError

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
            options: ``init_state`` and ``goal_state``, arrays (S,); a missing one is sampled.

        Raises:
            InvalidState: for a state of the wrong shape or out of the world.
            InvalidOption: for an unknown option.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        for key in given:
            _choose("reset option", key, ("init_state", "goal_state"))
        sampler_seed = seed if seed is not None else int(self.np_random.integers(MAX_SEED))
        init, goal = self.sample_states(sampler_seed % MAX_SEED)
        self._state = self._read_state(given.get("init_state"), "init_state", init)
        self._goal = self._read_state(given.get("goal_state"), "goal_state", goal)
        self._goal_image = None
        return self._observe(), self._info()

    def step(self, action: ArrayLike) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Advance by one action (A,), in the units of the published environment, not clipped.

        Raises:
            InvalidAction: for a wrong shape or a value that is not finite.
        """
        state = self._current()
        values = self._read_action(action)
        self._state = self.simulate(state, values[None])[0]
        info = self._info()
        terminated = bool(self.terminate_on_success and info["success"])
        return self._observe(), float(_sparse(info["success"])), terminated, False, info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The current image, (image_size, image_size, 3), or None when made with ``render_mode=None``."""
        if self.render_mode is None:
            return None
        return self.draw(self._current(), self.image_size)

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

    # Parts --------------------------------------------------------------------------------------------

    def _current(self) -> State:
        if self._state is None:
            raise EnvError("The environment has no state yet; call reset() first.")
        return self._state

    def _observation_space(self) -> spaces.Dict:
        low, high = (np.asarray(bound, np.float64) for bound in self.state_bounds)

        def box(view: Callable[[State], NDArray[np.float32]]) -> spaces.Box:
            return spaces.Box(view(low), view(high), dtype=np.float32)

        if self.obs_type == "state":
            goal = box(self.achieved)
            observation = box(lambda state: state.astype(np.float32))
            return spaces.Dict({"observation": observation, "achieved_goal": goal, "desired_goal": goal})
        image = spaces.Box(0, 255, (self.image_size, self.image_size, 3), np.uint8)
        proprio = box(self.proprio)
        return spaces.Dict({"pixels": image, "goal_pixels": image, "proprio": proprio, "goal_proprio": proprio})

    def _observe(self) -> Observation:
        state, goal = self.state, self.goal_state
        if self.obs_type == "state":
            return {
                "observation": state.astype(np.float32),
                "achieved_goal": self.achieved(state),
                "desired_goal": self.achieved(goal),
            }
        return LazyDict(
            pixels=Lazy(lambda: self.draw(state, self.image_size)),
            goal_pixels=Lazy(lambda: self._draw_goal(goal)),
            proprio=self.proprio(state),
            goal_proprio=self.proprio(goal),
        )

    def _draw_goal(self, goal: State) -> NDArray[np.uint8]:
        if self._goal is None or not np.array_equal(goal, self._goal):  # an observation of an earlier episode
            return self.draw(goal, self.image_size)
        if self._goal_image is None:
            self._goal_image = self.draw(goal, self.image_size)
        return self._goal_image.copy()

    def _info(self) -> dict[str, Any]:
        state, goal = self.state, self.goal_state
        distances = self.distances(state, goal)
        success = bool(self.predicates[0].met(distances))
        first = next(iter(self.predicates[0].limits))
        return {
            "success": success,
            "is_success": success,
            "distance": float(distances[first]),
            "state": state,
            "goal_state": goal,
        }

    def _read_state(self, given: Any, name: str, sampled: State) -> State:
        if given is None:
            return np.array(sampled, dtype=np.float64)
        state = np.array(given, dtype=np.float64)
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
        values = np.asarray(action, dtype=np.float64)
        if values.shape != (self.action_dim,):
            raise InvalidAction(f"An action has shape ({self.action_dim},) here, not {values.shape}.")
        if not np.isfinite(values).all():
            raise InvalidAction(f"An action must be finite numbers, not {values.tolist()}.")
        return values


def _sparse(success: ArrayLike) -> NDArray[np.float64]:
    """0 on success and -1 otherwise."""
    return np.asarray(success, dtype=np.float64) - 1.0


def _choose(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidOption(f"{name}={value!r} is not known; choose one of {', '.join(choices)}.")
