"""Many walks of Two Rooms at once, as states only: pictures of them are drawn when somebody wants to see some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.tworooms import physics, sampler, walks

STEPS = 90
"""Actions of a published trajectory (``dot_dataset.py``: 91 positions)."""


class Trajectories(NamedTuple):
    """N walks of T steps."""

    states: NDArray[np.float32]
    """(N, T + 1, 4): x, y, wall_x, door_y."""
    actions: NDArray[np.float32]
    """(N, T, 2), pixels."""


def generate(
    seed: int,
    numbers: Iterable[int],
    *,
    steps: int = STEPS,
    collisions: physics.Collisions = "bounce",
    jitter: float = 0.0,
    layout: tuple[int, int] | None = None,
    wander: float = 0.0,
) -> Trajectories:
    """The walks with these numbers, each a function of (seed, number) alone.

    Walk k is what ``TwoRoomsEnv.random_episode`` plays with the generator of episode k of a data set, so these are
    the states of ``jepawm-bench data collect``, some hundred times as fast, for all move together.

    Args:
        seed: of the data.
        numbers: which walks.
        steps: T.
        collisions: see :func:`jepawm_envs.tworooms.physics.move`; the published generator has ``stop``.
        jitter: deviation of where a contact leaves the dot, pixels.
        layout: (wall_x, door_y) of all walks; by default every walk has its own.
        wander: share of walks that are :func:`.walks.wandering_episode` instead.
    """
    drawn = [_draw(seed, number, steps, jitter, layout, wander) for number in numbers]
    starts, actions, kicks = (np.stack(parts) for parts in zip(*drawn, strict=True))
    path = physics.simulate(starts, actions, collisions, kicks if jitter else None)
    states = np.concatenate([starts[:, None], path], axis=1)
    return Trajectories(states.astype(np.float32), actions.astype(np.float32))


def _draw(seed: int, number: int, steps: int, jitter: float, layout: tuple[int, int] | None, wander: float):
    """Start (4,), actions (T, 2) and kicks (T, 2) of one walk, drawn in the order of ``random_episode``."""
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    own = sampler.sample_layout(random)
    walls = np.array(own if layout is None else layout, np.float64)
    law = walks.wandering_episode if wander and random.random() < wander else walks.random_episode
    start, actions = law(random, steps, physics.room_of(np.array([0.0, 0.0, *walls])))
    kicks = random.normal(0.0, jitter, actions.shape) if jitter else np.zeros_like(actions)
    return np.concatenate([start, walls]), actions, kicks
