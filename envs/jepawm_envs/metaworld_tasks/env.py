"""The Metaworld environments, one class for all 42 tasks."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.errors import InvalidOption, InvalidState
from jepawm_envs.goal_env import GoalEnv, State, read_numbers
from jepawm_envs.metaworld_tasks import behaviour, experts
from jepawm_envs.metaworld_tasks.simulator import (
    ACTION_DIM,
    OBJECT_TO_TARGET,
    OBSERVATION,
    SUCCESS,
    Simulator,
)
from jepawm_envs.predicates import Predicate
from jepawm_envs.rendering import Quality

HAND, GRIPPER, OBJECT = slice(2, 5), 5, slice(6, 9)
PROPRIO = slice(2, 6)
ACHIEVED = slice(0, 9)
FURTHEST = 10.0
"""Metres by which observed positions are cut, so that spaces stay finite when an object falls for ever."""
HUGE = 1e9

PUBLISHED = Predicate(
    "metaworld/published",
    1,
    {"failure": 0.5},
    source="the simulator's success flag, jepa-wms plan_evaluator.py:213-228",
)

TRACE = slice(0, 5)
"""What records keep of a state."""


class MetaworldEnv(GoalEnv):
    """One of the 42 Metaworld tasks of the published world models.

    ## Description
    A Sawyer arm whose hand is moved by a mocap body over a table; one action lasts 0.0125 s. The hand stays in
    x [-0.5, 0.5], y [0.4, 1], z [0.05, 0.5] m (a little wider in some tasks).

    A state is ``[success, object_to_target, observation (39), first and last random vector (2 V), MuJoCo state]``;
    V is 3 or 6. Entries 0 and 1 are Metaworld's verdict after the last step, 2 to 4 the hand. It can be restored
    exactly. ``init_state`` and ``goal_state`` may also be *task vectors*: the two random vectors that Metaworld's
    reset consumes (2 V numbers), or the last alone (V numbers), which then counts for both. As a start this means the
    state after a reset and one action of zeros, as a goal the state in which the scripted expert ends.

    ## Action space
    ``Box(-1, 1, (4,), float32)``: (dx, dy, dz) of the hand in centimetres and the effort that closes the gripper.
    Metaworld cuts them to these bounds.

    ## Observation space
    ``pixels``: ``pixels`` and ``goal_pixels`` (image_size, image_size, 3) uint8 from camera ``corner2`` at
    (0.75, 0.075, 0.7), and ``proprio`` and ``goal_proprio`` (4,) float32, the hand's x, y,
    z in metres and the gripper's opening from 0 to 1. ``state``: ``observation`` (39,) float32 as Metaworld has it,
    the target's position included, ``achieved_goal`` and ``desired_goal`` (9,) float32: success,
    object_to_target, hand, gripper, first object. Positions are cut at 10 m.

    ## Goal and success
    Success is Metaworld's own flag (``metaworld/published@1``), for reach and reach-wall the hand within 5 cm of the
    target; ``info["distance"]`` is its ``obj_to_target``, whose meaning depends on the task, and which is always 0 in
    assembly, box-close, disassemble, door-open and hammer. Neither depends on
    ``goal_state``, which says what the goal looks like: the state in which the scripted policy ends after 100 steps,
    also, as published, where the policy has not solved the task by then, or has undone it.
    Start and goal must have the same layout (last random vector). ``compute_reward`` reads the flag in
    ``achieved_goal``; relabelling goals in hindsight changes nothing.

    ## Rewards
    0 on success, -1 otherwise. Differs from the reference: Metaworld's dense reward is not reported.

    ## Starting state
    Metaworld's reset after ``env.seed(seed)``, followed by one action of zeros.

    ## Episode end
    A step limit from the registration. The action of zeros counts in the published limit of 100, so 99 are left.

    ## Source
    Metaworld 3.1.1 (Farama); jepa-wms (commit 6eafb14) ``envs/metaworld.py``, ``plan_evaluator.py``.
    Differs from the reference: every episode has the layout of its own seed, the first one too (there the seed takes
    effect with the second reset); no limit of 500 steps.

    ## Version history
    v0: first version.

    Args:
        task: one of :data:`jepawm_envs.metaworld_tasks.tasks.TASKS`.
        **settings: those of :class:`~jepawm_envs.goal_env.GoalEnv`.

    Raises:
        InvalidOption: for an unknown task.
        MissingLibrary: without the package ``metaworld``.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 80}  # noqa: RUF012

    predicates: ClassVar[tuple[Predicate, ...]] = (PUBLISHED,)
    frameskip: ClassVar[int] = 5
    action_dim: ClassVar[int] = ACTION_DIM
    behaviour_std: ClassVar[float] = 0.73  # datasets/__init__.py:24-93 of jepa-wms: 0.72 to 0.74 by direction
    records_part_of_state: ClassVar[bool] = True
    observation_options: ClassVar[tuple[str, ...]] = ("render_quality",)
    goals_are_expert_ends: ClassVar[bool] = True
    """The published sampler runs the expert itself."""
    distance_name: ClassVar[str | None] = "object_to_target"
    observation_bounds = ((-FURTHEST,) * 39, (FURTHEST,) * 39)
    proprio_bounds = ((-FURTHEST,) * 3 + (0.0,), (FURTHEST,) * 3 + (1.0,))
    goal_bounds = ((0.0, 0.0) + (-FURTHEST,) * 7, (1.0,) + (FURTHEST,) * 8)

    def __init__(self, task: str = "reach", **settings: Any):
        self.simulator = Simulator(task)
        self.task = task
        self.state_dim = self.simulator.state_dim
        self.state_bounds = ((-HUGE,) * self.state_dim, (HUGE,) * self.state_dim)
        super().__init__(**settings)

    # Tasks --------------------------------------------------------------------------------------------

    def sample_states(self, seed: int) -> tuple[State, State]:
        """Start and goal (S,) of the published evaluation's episode seed; the expert is run for the goal."""
        init, goal = self.task_states(seed)
        return self._from_vector(init, "init_state"), self._from_vector(goal, "goal_state")

    def task_states(self, seed: int) -> tuple[State, State]:
        """Task vectors (2 V,) of start and goal.

        The goal's expert starts from the last random vector alone (``plan_evaluator.py:43-86``).
        """
        layout = self.simulator.sample_layout(seed)
        return layout.ravel(), np.tile(layout[1], 2)

    def complete(self, init: State | None, goal: State | None, seed: int) -> tuple[State, State]:
        """Fill in what :meth:`reset` was not given: a lone start or goal fixes the layout of the other."""
        if init is None and goal is None:
            return self.sample_states(seed)
        if goal is None:
            assert init is not None
            goal = self._from_vector(self.simulator.layout(init)[1], "goal_state")
        elif init is None:
            init = self._from_vector(self.simulator.layout(goal)[1], "init_state")
        assert init is not None
        return init, goal

    def check_state(self, state: State) -> None:
        """Its observation and success flag must be those of its MuJoCo state."""
        self.simulator.check(state)

    def check_task(self, init: State, goal: State) -> None:
        """Start and goal must show the same layout."""
        start, end = (self.simulator.layout(state)[1] for state in (init, goal))
        if not np.array_equal(start, end):
            raise InvalidState(
                f"init_state and goal_state belong to different layouts of {self.task} (random vectors "
                f"{start.tolist()} and {end.tolist()}); give states of one layout, or only one of them."
            )

    def _read_state(self, given: Any, name: str) -> State:
        vector = read_numbers(given, name, InvalidState)
        if vector.shape in ((self.simulator.vector_dim,), (2 * self.simulator.vector_dim,)):
            return self._from_vector(vector, name)
        if vector.shape != (self.state_dim,):
            raise InvalidState(
                f"{name} of {self.task} must be a state of {self.state_dim} numbers or a task vector of "
                f"{self.simulator.vector_dim} or {2 * self.simulator.vector_dim}, but has shape {vector.shape}."
            )
        return super()._read_state(vector, name)

    def _whole(self, state: ArrayLike, name: str) -> State:
        """A state (S,) as it is, or that of a task vector."""
        given = np.asarray(state, np.float64)
        return given if given.shape == (self.state_dim,) else self._read_state(given, name)

    def _from_vector(self, vector: State, name: str) -> State:
        """The start or the goal (S,) that a task vector (V,) or (2 V,) stands for."""
        layout = np.broadcast_to(vector.reshape(-1, self.simulator.vector_dim), (2, self.simulator.vector_dim))
        try:
            if name == "goal_state":
                return experts.expert_end(self.simulator, layout)
            self.simulator.place(layout)
        except InvalidState as problem:
            raise InvalidState(f"{name} is not possible: {problem}") from None
        return self.simulator.step(np.zeros(ACTION_DIM))

    # Physics and measures -----------------------------------------------------------------------------

    def simulate(self, states: ArrayLike, actions: ArrayLike) -> State:
        """True dynamics for states (..., S) and actions (..., T, 4), as states (..., T, S)."""
        states, actions = np.asarray(states, np.float64), np.asarray(actions, np.float64)
        lead = np.broadcast_shapes(states.shape[:-1], actions.shape[:-2])
        steps = actions.shape[-2]
        starts = np.broadcast_to(states, (*lead, self.state_dim)).reshape(-1, self.state_dim)
        sequences = np.broadcast_to(actions, (*lead, steps, ACTION_DIM)).reshape(-1, steps, ACTION_DIM)
        paths = np.empty((len(starts), steps, self.state_dim))
        for path, start, sequence in zip(paths, starts, sequences, strict=True):
            path[:] = self.simulator.roll(start, sequence)
        return paths.reshape(*lead, steps, self.state_dim)

    def distances(self, states: ArrayLike, goal_state: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """``failure``, 0 where Metaworld says success and else 1; ``object_to_target``, Metaworld's measure."""
        states = np.asarray(states, np.float64)
        return {"failure": 1.0 - states[..., SUCCESS], "object_to_target": states[..., OBJECT_TO_TARGET]}

    def goal_distances(self, achieved: ArrayLike, desired: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """As :meth:`distances`: achieved goals begin with the same two numbers, and desired ones do not matter."""
        return self.distances(achieved, desired)

    def trace(self, states: State) -> NDArray[np.float32]:
        """Success, object_to_target and hand, (..., 5), float32: there are thousands of episodes to keep."""
        return np.asarray(states)[..., TRACE].astype(np.float32)

    def trace_actions(self, actions: NDArray[Any]) -> NDArray[np.float32]:
        """Float32, as Metaworld gets them."""
        return np.asarray(actions, dtype=np.float32)

    def planning_cost(self, states: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The ways that are left, in metres, and 0.1 m more where the task is not solved; not zero at the goal.

        The ways are Metaworld's own measure, the first object's way to where the expert leaves it (five tasks have no
        measure of their own) and, with a weight of 0.3, the hand's way to the object. This was chosen by a trial with
        a small cross-entropy planner (two or three seeds a task). With the hand's way to where the expert leaves it,
        instead of the way to the object, no drawer opened and no puck reached its place. The distance to the expert's
        end alone left reach unsolved in two of three episodes, since there the expert ends on the very edge of success.
        """
        states, goal = np.asarray(states, np.float64), np.asarray(goal_state, np.float64)
        to_object = np.linalg.norm(states[..., HAND] - states[..., OBJECT], axis=-1)
        left = states[..., OBJECT_TO_TARGET] + _way(states, goal, OBJECT) + HAND_WEIGHT * to_object
        return UNSOLVED * (1.0 - states[..., SUCCESS]) + left

    def difficulty(self, init_state: ArrayLike, goal_state: ArrayLike) -> dict[str, float]:
        """How far the goal is, in metres, for states or task vectors.

        ``euclidean``: from the hand to where the expert leaves it; ``object``: the same for the first object.
        """
        init, goal = self._whole(init_state, "init_state"), self._whole(goal_state, "goal_state")
        return {
            "euclidean": float(_way(init, goal, HAND)),
            "object": float(_way(init, goal, OBJECT)),
        }

    # Views --------------------------------------------------------------------------------------------

    def draw(self, state: State, size: int) -> NDArray[np.uint8]:
        """Pictures (..., size, size, 3) of states (..., S)."""
        states = np.asarray(state, np.float64)
        if states.shape[-1] != self.state_dim:
            raise InvalidOption(f"Only whole states of {self.state_dim} numbers can be drawn, not {states.shape}.")
        quality = cast(Quality, self.render_quality)
        pictures = [self.simulator.draw(one, size, quality) for one in states.reshape(-1, self.state_dim)]
        return np.reshape(pictures, (*states.shape[:-1], size, size, 3)).astype(np.uint8, copy=False)

    def proprio(self, state: State) -> NDArray[np.float32]:
        """Hand x, y, z in metres and gripper opening from 0 to 1, (..., 4): the observation's first four numbers."""
        return _cut(np.asarray(state)[..., PROPRIO])

    def achieved(self, state: State) -> NDArray[np.float32]:
        """Success, object_to_target, hand, gripper and first object, (..., 9)."""
        return _cut(np.asarray(state)[..., ACHIEVED])

    def observe_state(self, state: State) -> NDArray[np.float32]:
        """Metaworld's observation, (..., 39)."""
        return _cut(np.asarray(state)[..., OBSERVATION])

    # Controllers --------------------------------------------------------------------------------------

    def expert_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The scripted oracle's action, (4,): Metaworld's policy until success, then the hand stays; needs no goal."""
        return experts.oracle_action(self.task, np.asarray(state, np.float64))

    def straight_line_action(self, state: ArrayLike, goal_state: ArrayLike) -> NDArray[np.float64]:
        """The action that moves the hand straight to where the expert leaves it and sets the gripper alike, (4,)."""
        state, goal = np.asarray(state, np.float64), np.asarray(goal_state, np.float64)
        move = (goal[HAND] - state[HAND]) / METRES_PER_ACTION
        longest = max(1.0, float(np.abs(move).max()))
        return np.append(move / longest, np.clip(5.0 * (state[GRIPPER] - goal[GRIPPER]), -1.0, 1.0))

    def random_episode(self, random: np.random.Generator, steps: int) -> tuple[State, NDArray[np.float64]]:
        """One episode of behaviour data; see :mod:`jepawm_envs.metaworld_tasks.behaviour`."""
        layout = self.simulator.sample_layout(int(random.integers(2**32)))
        return behaviour.noisy_episode(self.simulator, self._from_vector(layout.ravel(), "init_state"), random, steps)

    def close(self) -> None:
        """Free what draws."""
        self.simulator.close()
        super().close()


METRES_PER_ACTION = 0.01
HAND_WEIGHT, UNSOLVED = 0.3, 0.1
"""Of :meth:`MetaworldEnv.planning_cost`."""


def _way(states: NDArray[np.float64], goal: NDArray[np.float64], part: slice) -> NDArray[np.float64]:
    return np.linalg.norm(states[..., part] - goal[..., part], axis=-1)


def _cut(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.clip(values, -FURTHEST, FURTHEST).astype(np.float32)
