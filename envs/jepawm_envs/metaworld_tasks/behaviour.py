"""Behaviour data: half of the episodes follow the scripted expert through noise, half wander.

The noise differs in strength from episode to episode.
What is known of the published data, which are those of agents that learn (TD-MPC2), are the mean and the deviation of
actions and proprioception (jepa-wms ``datasets/__init__.py:24-93``). The wandering is needed: where the hand is, is
where the expert is about to go on from, so of the expert alone a world model learns that the hand moves by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.metaworld_tasks import simulator
from jepawm_envs.metaworld_tasks.experts import policy_action

MOST_NOISE = 1.7
"""An episode's standard deviation of the noise is uniform between 0 and this, in action units.

Chosen so that the actions of the episodes that follow the expert deviate about as much as the published ones, by 0.73
on the mean of the four directions; with those that wander it is 0.69."""

SEGMENT = (5, 30)
"""Fewest and most steps for which a wandering hand keeps its intention."""
INTENTIONS = {"drift": 0.6, "expert": 0.25, "still": 0.15}
"""What it is and how often: one random action held, the expert's action, none."""


def noisy_episode(
    world: simulator.Simulator, start: NDArray[np.float64], random: np.random.Generator, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """States (steps + 1, S) from ``start`` (S,) on and actions (steps, 4) within [-1, 1]."""
    wanders = random.random() < 0.5
    noise = random.uniform(0.0, MOST_NOISE) * random.standard_normal((steps, simulator.ACTION_DIM))
    drift, by_expert = _intentions(random, steps) if wanders else (np.zeros_like(noise), np.ones(steps, bool))
    states, actions = [start], []
    world.restore(start)
    for step, disturbance in enumerate(noise):
        known = states[-1][simulator.OBSERVATION]
        wanted = policy_action(world.task, known) if by_expert[step] else drift[step]
        actions.append(np.clip(wanted + disturbance, -1.0, 1.0))
        states.append(world.step(actions[-1]))
    return np.stack(states), np.reshape(actions, (steps, simulator.ACTION_DIM))


def _intentions(random: np.random.Generator, steps: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Actions (steps, 4) that a wandering hand intends, and at which steps (steps,) the expert decides instead."""
    drift, by_expert = np.zeros((steps, simulator.ACTION_DIM)), np.zeros(steps, bool)
    step = 0
    while step < steps:
        end = step + int(random.integers(SEGMENT[0], SEGMENT[1] + 1))
        intention = random.choice(list(INTENTIONS), p=list(INTENTIONS.values()))
        if intention == "drift":
            drift[step:end] = random.uniform(-1.0, 1.0, simulator.ACTION_DIM)
        by_expert[step:end] = intention == "expert"
        step = end
    return drift, by_expert
