"""Metaworld's simulator as a function of states: any state can be restored and continued exactly.

Metaworld keeps a task in three places: in MuJoCo's state, in positions that a reset writes into the model, and in
variables of the Python object. The last two depend on nothing but the *layout*, the two random vectors that its
``reset`` consumes one after the other, so a state is made of the layout and of MuJoCo's state. Both vectors count: the
arm is brought to its place while bodies still stand where the first vector put them, and in 11 of the 42 tasks it, or
the object, ends elsewhere for another first vector (up to 0.17 m in ``disassemble``).

Source: metaworld 3.1.1 ``sawyer_xyz_env.py``; jepa-wms (commit 6eafb14) ``evals/simu_env_planning/envs/metaworld.py``.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.errors import EnvError, InvalidState
from jepawm_envs.metaworld_tasks.tasks import check_task_name, library_name
from jepawm_envs.rendering import Camera, Quality, load_mujoco

Array = NDArray[np.float64]

SUCCESS, OBJECT_TO_TARGET = 0, 1
OBSERVATION = slice(2, 41)
"""Metaworld's 39 numbers: now 18 (hand x, y, z, gripper, up to two objects with quaternions), before 18, target 3."""
VECTORS = 41
"""Where the two random vectors begin; MuJoCo's state follows them."""
NOW = 18
TARGET = slice(36, 39)
"""Of the observation."""
TOLERANCE = 1e-6
"""Of what a given state says about its MuJoCo state, metres; reached states agree to the last bit."""

CAMERA = "corner2"
CAMERA_POSITION = (0.75, 0.075, 0.7)  # metaworld.py:32-33 of jepa-wms
MAX_DRAWS = 10_000
"""Random vectors in one reset before it counts as hopeless; about one in 20 is refused by the strictest tasks."""
ACTION_DIM = 4
MAX_CAMERAS = 4


class MissingLibrary(EnvError, ImportError):
    """Metaworld is not installed."""


class Simulator:
    """One Metaworld task whose states are vectors.

    A state is ``[success, object_to_target, observation (39), first vector (V), last vector (V), MuJoCo state]``.
    Copies and pickles travel as the name of the task and start afresh: nothing that matters is kept here.

    Args:
        task: one of the 42 names.

    Raises:
        MissingLibrary: without the package ``metaworld``.
    """

    def __init__(self, task: str):
        self.task = check_task_name(task)
        self._mujoco = library("mujoco")
        metaworld = library("metaworld.env_dict")
        self._env: Any = metaworld.ALL_V3_ENVIRONMENTS[library_name(task)]()
        self._env._partially_observable = False  # the goal is part of the observation
        self._env.__dict__.pop("sawyer_observation_space", None)  # cached for the other kind
        self._env._set_task_called = True
        camera = self._mujoco.mj_name2id(self._env.model, self._mujoco.mjtObj.mjOBJ_CAMERA, CAMERA)
        self._env.model.cam_pos[camera] = CAMERA_POSITION
        space = self._env._random_reset_space
        self.vector_bounds: tuple[Array, Array] = (space.low.copy(), space.high.copy())
        self.vector_dim: int = space.low.size
        self._kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._physics = VECTORS + 2 * self.vector_dim
        self.state_dim: int = self._physics + self._mujoco.mj_stateSize(self._env.model, self._kind)
        self._layout: Array | None = None
        self._current: Array | None = None
        self._cameras: dict[tuple[int, str], Camera] = {}

    # Layouts ------------------------------------------------------------------------------------------

    def sample_layout(self, seed: int) -> Array:
        """The two random vectors (2, V) that a reset consumes after ``env.seed(seed)``; see :meth:`place`."""
        self._env.seed(seed)  # Metaworld ignores the seed of reset()
        low, high = self.vector_bounds
        return self._reset(lambda: self._env.np_random.uniform(low, high, size=low.size))[0]

    def place(self, layout: Array) -> Array:
        """Reset to two random vectors (2, V); Metaworld's observation (39,) then.

        Raises:
            InvalidState: if a vector lies outside the task's box, or start and target too near for the task.
        """
        low, high = self.vector_bounds
        if layout.shape != (2, low.size) or not ((layout >= low - 1e-9) & (layout <= high + 1e-9)).all():
            raise InvalidState(
                f"the random vectors of {self.task} are {low.size} numbers between {low.tolist()} and "
                f"{high.tolist()}, but are {layout.tolist()}."
            )
        draws = iter(layout)
        taken, observation = self._reset(lambda: next(draws).copy())
        assert np.array_equal(taken, layout)
        return observation

    def _reset(self, draw: Any) -> tuple[Array, Array]:
        """Metaworld's reset with random vectors from ``draw``: those it accepted (2, V), and its observation (39,)."""
        env = self._env
        accepted: list[Array] = []
        drawn: list[Array] = []

        def next_vector() -> Array:
            if len(drawn) >= MAX_DRAWS:
                raise InvalidState(f"no start and target of {self.task} lie far enough from each other.")
            try:
                drawn.append(draw())
            except StopIteration:
                raise InvalidState(
                    f"start and target in the random vector {drawn[-1].tolist()} of {self.task} are nearer to each "
                    "other than the task allows."
                ) from None
            return drawn[-1].copy()

        def reset_model() -> Any:
            result = type(env).reset_model(env)
            accepted.append(drawn[-1].copy())
            return result

        self._layout = self._current = None
        env._freeze_rand_vec = True
        env._get_state_rand_vec, env.reset_model = next_vector, reset_model
        try:
            observation, _ = env.reset()
        finally:
            del env._get_state_rand_vec, env.reset_model
        self._layout = np.stack(accepted)
        return self._layout.copy(), observation

    def layout(self, state: Array) -> Array:
        """The random vectors (2, V) in a state (S,)."""
        return state[VECTORS : self._physics].reshape(2, self.vector_dim)

    # States -------------------------------------------------------------------------------------------

    def step(self, action: Array) -> Array:
        """Advance by one action (4,) from where the simulator stands; the new state (S,).

        Actions are cut to [-1, 1], as Metaworld and its gripper do, and are float32, as in the published evaluation
        (jepa-wms ``wrappers/tensor.py``): Metaworld multiplies them in the type in which it gets them.
        """
        assert self._layout is not None
        self._env.curr_path_length = 0  # the step limit belongs to the environment, not to Metaworld
        observation, *_, info = self._env.step(np.clip(action, -1.0, 1.0).astype(np.float32))
        state = np.empty(self.state_dim)
        state[SUCCESS], state[OBJECT_TO_TARGET] = info["success"], info["obj_to_target"]
        state[OBSERVATION] = observation
        state[VECTORS : self._physics] = self._layout.ravel()
        self._mujoco.mj_getState(self._env.model, self._env.data, state[self._physics :], self._kind)
        self._current = state
        return state.copy()

    def restore(self, state: Array) -> None:
        """Bring the simulator to a state (S,) so that it continues as if it had never left it."""
        if self._current is not None and np.array_equal(self._current, state):
            return
        layout = self.layout(state)
        if self._layout is None or not np.array_equal(self._layout, layout):
            self.place(layout)
        self._current = None
        physics = np.array(state[self._physics :])
        self._mujoco.mj_setState(self._env.model, self._env.data, physics, self._kind)
        self._mujoco.mj_forward(self._env.model, self._env.data)
        self._mujoco.mj_setState(self._env.model, self._env.data, physics, self._kind)  # forward moves the warm start
        self._env._prev_obs = self._env._get_curr_obs_combined_no_goal()
        self._current = np.array(state)

    def roll(self, state: Array, actions: Array) -> Array:
        """States (T, S) after every one of actions (T, 4)."""
        self.restore(state)
        return np.stack([self.step(action) for action in actions]) if len(actions) else np.empty((0, self.state_dim))

    def check(self, state: Array) -> None:
        """Refuse a vector (S,) that does not say what Metaworld says about its MuJoCo state.

        What the observation says about the step before is not compared: nothing in a state tells it, and neither
        physics nor measures read it.

        Raises:
            InvalidState: saying what disagrees.
        """
        self.restore(state)
        shown, true = state[OBSERVATION][:NOW], self._env._prev_obs
        low, high = (getattr(self._env.sawyer_observation_space, side)[:NOW] for side in ("low", "high"))
        if not _agree(shown, np.clip(true, low, high)):
            self._current = None
            raise InvalidState("hand, gripper and objects in it are not where its MuJoCo state has them.")
        target = self._env._get_pos_goal()
        if not _agree(state[OBSERVATION][TARGET], target):
            raise InvalidState(
                f"it shows the target at {state[OBSERVATION][TARGET].tolist()}, but its random vectors put it at "
                f"{target.tolist()}."
            )
        evaluated = self._env.evaluate_state(state[OBSERVATION].copy(), np.zeros(ACTION_DIM, np.float32))[1]
        if float(evaluated["success"]) != state[SUCCESS]:
            raise InvalidState(f"it says success={state[SUCCESS]:g}, but Metaworld says {evaluated['success']:g}.")
        if not _agree(state[OBJECT_TO_TARGET], evaluated["obj_to_target"]):
            raise InvalidState(
                f"it says object_to_target={state[OBJECT_TO_TARGET]:g}, but Metaworld says "
                f"{evaluated['obj_to_target']:g}."
            )

    # Pictures -----------------------------------------------------------------------------------------

    def draw(self, state: Array, size: int, quality: Quality) -> NDArray[np.uint8]:
        """The published picture of a state (S,), (size, size, 3)."""
        self.restore(state)
        key = (size, quality)
        if key not in self._cameras:
            if len(self._cameras) >= MAX_CAMERAS:
                self.close()  # sizes come one at a time; contexts are large
            # The camera hangs upside down, so that rows from the bottom up show the arm upright, as published
            # (metaworld.py:117-125).
            self._cameras[key] = Camera(self._env.model, size, quality, view=CAMERA, bottom_first=True)
        return self._cameras[key].render(self._env.data)

    def close(self) -> None:
        """Free what draws."""
        for camera in self._cameras.values():
            camera.close()
        self._cameras.clear()

    def __reduce__(self):
        return Simulator, (self.task,)


def _agree(one: Any, other: Any) -> bool:
    return np.allclose(one, other, rtol=0, atol=TOLERANCE)


def library(name: str) -> Any:
    """A module of an optional package.

    Raises:
        MissingLibrary: naming what to install.
        RenderingError: if ``MUJOCO_GL`` keeps MuJoCo from being imported.
    """
    try:
        return load_mujoco() if name == "mujoco" else importlib.import_module(name)
    except ImportError as problem:
        raise MissingLibrary(
            f"Metaworld environments need packages that are not installed ({problem}); "
            'pip install "jepawm-bench[metaworld]".'
        ) from problem
