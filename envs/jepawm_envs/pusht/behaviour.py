"""Scripted pushing with noise: the law of our behaviour data.

The published data (``pusht_noise`` of DINO-WM) are demonstrations replayed with noise of several levels; the
demonstrations are not a law that could be restated, so this one is ours. The pusher walks around the block to a
random point of its outline, pushes through it, and begins again; episodes differ in the level of the Gaussian noise
on actions. The constants are chosen so that the spread of actions, positions and velocities is near the published
one (jepa-wms ``pusht_dset.py:20-26``): actions 0.20 a dimension, positions (101, 87), velocities 74.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.pusht import geometry
from jepawm_envs.pusht.physics import CANVAS, Simulator, prepare

NOISE_LEVELS = (0.0, 0.05, 0.1, 0.2)
"""Deviations of the noise on actions, one an episode."""
AGENT_MEAN, AGENT_STD = (237.0, 265.0), (101.0, 87.0)
BLOCK_MEAN, BLOCK_STD = (255.0, 266.0), (53.0, 57.0)
VELOCITY_STD = 40.0
STRIDE = (0.15, 0.4)
"""Longest action of a walk, uniform, drawn anew for every push."""
PUSH = (30.0, 130.0)
"""How far beyond the contact point a push aims, pixels."""
TILT = 0.35
"""Deviation of a push from the outline's normal, radians."""
PATIENCE = 25
"""Actions after which a push is given up."""
HOME = 90.0
"""A block farther than this from the middle is pushed back rather than anywhere, pixels."""
CLEARANCE = 12.0
MIDDLE = np.array([CANVAS / 2, CANVAS / 2])

Array = NDArray[np.float64]


def random_episode(random: np.random.Generator, steps: int, simulator: Simulator) -> tuple[Array, Array]:
    """One episode.

    Args:
        random: where all chance comes from.
        steps: number of actions.
        simulator: is placed anew.

    Returns:
        States (steps + 1, 7), the first after the reference's preparation, and actions (steps, 2).
    """
    noise = random.choice(NOISE_LEVELS)
    state = prepare(simulator, random_start(random, simulator))
    states, actions = [state], []
    waypoints: list[Array] = []
    stride, since = 0.0, 0
    while len(actions) < steps:
        if not waypoints or since >= PATIENCE:
            waypoints, stride, since = _plan_push(random, state, simulator), random.uniform(*STRIDE), 0
        action = geometry.stride_towards(state[:2], waypoints[0], stride) + random.normal(0.0, noise, size=2)
        simulator.step(action)
        state, since = simulator.state, since + 1
        states.append(state)
        actions.append(action)
        if math.dist(state[:2], waypoints[0]) < CLEARANCE:
            waypoints.pop(0)
    return np.array(states), np.array(actions)


def random_start(random: np.random.Generator, simulator: Simulator) -> Array:
    """A state (7,) with the pusher clear of the block."""
    reach = simulator.world.agent_radius + CLEARANCE
    while True:
        agent = random.normal(AGENT_MEAN, AGENT_STD)
        block = random.normal(BLOCK_MEAN, BLOCK_STD)
        angle = random.uniform(0, 2 * math.pi)
        velocity = random.normal(0.0, VELOCITY_STD, size=2)
        state = np.concatenate([agent, block, [angle], velocity])
        corners = geometry.block_corners(simulator.world, state)
        inside = (reach < agent).all() and (agent < CANVAS - reach).all()
        flat = np.concatenate(corners)
        fits = (flat > reach).all() and (flat < CANVAS - reach).all()
        if inside and fits and geometry.distance_to_block(agent, corners) > reach:
            return state


def _plan_push(random: np.random.Generator, state: Array, simulator: Simulator) -> list[Array]:
    """Waypoints of a walk to a random contact point and of a push through it."""
    world = simulator.world
    corners = geometry.block_corners(world, state)
    contacts, normals = geometry.contact_points(corners, world.agent_radius + CLEARANCE)
    homewards = MIDDLE - np.concatenate(corners).mean(axis=0)
    weights = np.ones(len(contacts))
    if np.hypot(*homewards) > HOME:
        weights = np.clip(normals @ homewards, 0.0, None) + 1e-6
    index = random.choice(len(contacts), p=weights / weights.sum())
    tilt = random.normal(0.0, TILT)
    turn = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    through = contacts[index] + turn @ normals[index] * (CLEARANCE + random.uniform(*PUSH))
    low = world.agent_radius
    way = geometry.walk_around(state[:2], contacts[index], corners, world.agent_radius + 2.0)
    return [np.clip(point, low, CANVAS - low) for point in (*way, through)]
