"""Scripted pushers that know the true state: a floor (straight to the pusher's goal) and an oracle.

The oracle looks one push ahead with the true simulator, anew at every step, and keeps no memory between steps. It
compares walking to where the pusher shall end, pushing on from where the pusher is, and walking around the block to a
contact point and pushing from there, and takes the first action of whatever promises the smallest remaining cost.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.pusht import geometry
from jepawm_envs.pusht.physics import Simulator

Array = NDArray[np.float64]

LONGEST = 0.8
"""Longest action of a walk, units of 100 pixels."""
WALKING_SPEED = 30.0
"""Pixels a step that the oracle counts on when walking."""
SPEEDS = (0.12, 0.35)
"""Lengths of the actions of a push."""
DIRECTIONS = 16
PUSH_STEPS = 10
BACK_OFF = 6.0
"""Distance between pusher and block where a push begins, pixels."""
CLEARANCE = 3.0
NEAR_CONTACT = 8.0
POSITION_UNIT, ANGLE_UNIT = 20.0, math.pi / 9
STEP_COST = 0.03
"""What one more step costs, in the unit of the planning cost."""
UNREACHABLE_STEPS = 30.0
"""What walking straight through the block is counted as."""
ARRIVED = 4.0
"""Pixels from a contact point at which the push begins."""
SETTLING_STEPS = 2.0
COASTING = 0.0368
"""Seconds of its velocity by which a pusher moves in a step besides what its action makes it move."""
HASTE = 2.2
"""How far beyond a waypoint a walk aims: in one step the controller covers only a quarter of the way."""
LEAST_GAIN = 0.02
"""By how much a push must lower the cost of the block; else it is only a walk, and those are planned otherwise."""
GOOD_ENOUGH = 0.15
"""Cost of a block that is not worth another push."""


def straight_line_action(state: Array, goal: Array) -> Array:
    """Walk straight at the pusher's goal position, (2,)."""
    return geometry.stride_towards(state[:2], goal[:2], LONGEST)


def expert_action(state: Array, goal: Array, simulator: Simulator) -> Array:
    """The oracle's action, (2,).

    Args:
        state: now, (7,).
        goal: wanted, (7,); the pusher's velocity in it does not count.
        simulator: is placed anew.
    """
    return best_option(state, goal, simulator).action


class Option(NamedTuple):
    """Something the oracle could do next."""

    cost: float
    """Estimate of the planning cost in the end, plus what the steps until then cost."""
    action: Array
    """Its first action, (2,)."""
    what: str
    """For people: ``finish``, ``push`` or ``approach``."""


def best_option(state: Array, goal: Array, simulator: Simulator) -> Option:
    """What :func:`expert_action` does and why."""
    world = simulator.world
    corners = geometry.block_corners(world, state)
    contacts, normals = geometry.contact_points(corners, world.agent_radius + BACK_OFF)
    targets = np.concatenate([goal[None, :2], contacts])
    ways, lengths = geometry.walks_around(state[:2], targets, corners, world.agent_radius + CLEARANCE)
    options = [_finish(state, goal, ways[0], float(lengths[0]))]
    if _block_cost(state, goal) > GOOD_ENOUGH:
        options += _pushes_from_here(state, goal, simulator, corners, normals)
        options += _approaches(state, goal, simulator, contacts, normals, ways[1:], lengths[1:])
    return min(options, key=lambda option: option.cost)


def _finish(state: Array, goal: Array, way: list[Array], length: float) -> Option:
    """Walk to where the pusher shall end, around the block if there is a way."""
    aim, steps = (way[0], length / WALKING_SPEED) if math.isfinite(length) else (goal[:2], UNREACHABLE_STEPS)
    return Option(_block_cost(state, goal) + STEP_COST * steps, _walk(state, aim), "finish")


def _pushes_from_here(state, goal, simulator: Simulator, corners: list[Array], normals: Array) -> list[Option]:
    """Go straight on from where the pusher is, in every direction; only near the block."""
    if geometry.distance_to_block(state[:2], corners) > simulator.world.agent_radius + BACK_OFF + NEAR_CONTACT:
        return []
    options = []
    headings = np.linspace(0, 2 * math.pi, DIRECTIONS, endpoint=False)
    compass = np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    for direction in np.concatenate([compass, np.unique(normals.round(9), axis=0)]):
        for speed in SPEEDS:
            action = speed * direction
            cost = _push(state, action, goal, simulator)
            options.append(Option(cost, action, "push"))
    to_goal = goal[:2] - state[:2]
    if np.hypot(*to_goal) > 1.0:
        action = geometry.stride_towards(state[:2], goal[:2], SPEEDS[-1])
        options.append(Option(_push(state, action, goal, simulator), action, "push"))
    return options


def _approaches(state, goal, simulator, contacts, normals, ways, lengths) -> list[Option]:
    """Walk to a contact point and push from there; the walk itself is not simulated."""
    options = []
    for contact, normal, way, length in zip(contacts, normals, ways, lengths, strict=True):
        if not math.isfinite(length):
            continue
        there = state.copy()
        there[:2], there[5:] = contact, 0.0
        steps = length / WALKING_SPEED + SETTLING_STEPS
        push = SPEEDS[-1] * normal
        cost = _push(there, push, goal, simulator) + STEP_COST * steps
        options.append(Option(cost, push if length < ARRIVED else _walk(state, way[0]), "approach"))
    return options


def _push(start: Array, action: Array, goal: Array, simulator: Simulator) -> float:
    """Smallest cost on the way of a straight push, the walk to the pusher's goal from there included."""
    simulator.place(start)
    best, needed = math.inf, _block_cost(start, goal) - LEAST_GAIN
    for step in range(1, PUSH_STEPS + 1):
        simulator.step(action)
        state = simulator.state
        cost = _block_cost(state, goal)
        if cost < needed:
            rest = math.dist(state[:2], goal[:2]) / WALKING_SPEED
            best = min(best, cost + STEP_COST * (step + rest))
    return best


def _block_cost(state: Array, goal: Array) -> float:
    """The planning cost with the pusher at its goal."""
    turned = (state[4] - goal[4] + math.pi) % (2 * math.pi) - math.pi
    return (math.dist(state[2:4], goal[2:4]) / POSITION_UNIT) ** 2 + (turned / ANGLE_UNIT) ** 2


def _walk(state: Array, aim: Array) -> Array:
    """A step towards a waypoint that takes the pusher's own velocity into account."""
    ahead = state[:2] + COASTING * state[5:]
    return geometry.stride_towards(ahead, ahead + HASTE * (aim - ahead), LONGEST)
