"""Metaworld's scripted policies: the oracle of every task and the source of published goals and data.

A policy sees nothing but the 39-D observation and keeps no memory. Metaworld finds it by the task's name, also where
its class is named otherwise (``peg-insert-side``, for which jepa-wms needs a special case, ``metaworld.py:152-172``).
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.metaworld_tasks import simulator
from jepawm_envs.metaworld_tasks.tasks import library_name

Array = NDArray[np.float64]

GOAL_STEPS = 100
"""Steps of the expert whose last state is the goal (jepa-wms ``plan_evaluator.py:43-86``)."""


@lru_cache(maxsize=64)
def _policy(task: str) -> Any:
    policies = simulator.library("metaworld.policies")
    return policies.ENV_POLICY_MAP[library_name(task)]()


def expert_action(task: str, observation: Array) -> Array:
    """The scripted action (4,) for an observation (39,), cut to [-1, 1] as the simulator cuts it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Constant(s) may be too high": actions are cut, on purpose
        action = _policy(task).get_action(np.array(observation, np.float64))  # a copy: some policies write to it
    return np.clip(np.asarray(action, np.float64), -1.0, 1.0)


def expert_end(world: simulator.Simulator, layout: Array, steps: int = GOAL_STEPS) -> Array:
    """The state (S,) in which the expert ends that starts right after a reset to ``layout`` (2, V)."""
    observation = world.place(layout)
    state = np.empty(0)
    for _ in range(steps):
        state = world.step(expert_action(world.task, observation))
        observation = state[simulator.OBSERVATION]
    return state


def expert_path(world: simulator.Simulator, state: Array, steps: int) -> Array:
    """States (steps + 1, S) of the expert from ``state`` (S,) on."""
    world.restore(state)
    path = [state]
    for _ in range(steps):
        path.append(world.step(expert_action(world.task, path[-1][simulator.OBSERVATION])))
    return np.stack(path)
