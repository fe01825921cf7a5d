"""Metaworld's scripted policies: the oracle of every task and the source of published goals and data.

A policy sees nothing but the 39-D observation and keeps no memory. Metaworld finds it by the task's name, also where
its class is named otherwise (``peg-insert-side``, for which jepa-wms needs a special case, ``metaworld.py:152-172``).

Policies do not stop when they have solved a task, and many then undo it: over the 42 tasks 64 % of episodes show
success after 99 steps and 69 % after 150, but 75 % and 87 % if the hand stops at success (seeds 1 to 10 and 1 to 6).
So the oracle stops, while published goals and data come from the policy as it is.
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


def policy_action(task: str, observation: Array) -> Array:
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
        state = world.step(policy_action(world.task, observation))
        observation = state[simulator.OBSERVATION]
    return state


def oracle_action(task: str, state: Array) -> Array:
    """The policy's action (4,) in a state (S,) that is not solved yet; then the hand stays and only grips."""
    action = policy_action(task, state[simulator.OBSERVATION])
    if state[simulator.SUCCESS]:
        action[:3] = 0.0
    return action
