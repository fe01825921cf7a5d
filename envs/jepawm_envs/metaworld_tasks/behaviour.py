"""Behaviour data: the scripted expert, disturbed by noise that differs in strength from episode to episode.

What is known of the published data beyond that are the mean and the deviation of its actions and proprioception
(jepa-wms ``datasets/__init__.py:24-93``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.metaworld_tasks import simulator
from jepawm_envs.metaworld_tasks.experts import policy_action

MOST_NOISE = 1.7
"""An episode's standard deviation of the noise is uniform between 0 and this, in action units.

Chosen so that the actions deviate about as much as the published ones, by 0.73 on the mean of the four directions."""


def noisy_episode(
    world: simulator.Simulator, start: NDArray[np.float64], random: np.random.Generator, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """States (steps + 1, S) from ``start`` (S,) on and actions (steps, 4) within [-1, 1]."""
    noise = random.uniform(0.0, MOST_NOISE) * random.standard_normal((steps, simulator.ACTION_DIM))
    states, actions = [start], []
    world.restore(start)
    for disturbance in noise:
        wanted = policy_action(world.task, states[-1][simulator.OBSERVATION])
        actions.append(np.clip(wanted + disturbance, -1.0, 1.0))
        states.append(world.step(actions[-1]))
    return np.stack(states), np.reshape(actions, (steps, simulator.ACTION_DIM))
