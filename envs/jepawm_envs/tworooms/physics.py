"""How the dot of Two Rooms moves: the contacts of Wall with a thinner wall, no kick, and a layout in every state.

Facts: EB-JEPA (commit 966e61e) ``datasets/two_rooms/env.py`` and ``utils.py:213-352``; the data generator's rule
``wall_dataset.py:921-1005``. A state is (x, y, wall_x, door_y), pixels of the 65 x 65 canvas, y down.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.wall.physics import INSIDE, Array, Room, travel

Collisions = Literal["bounce", "stop"]
COLLISIONS = ("bounce", "stop")

WALL_HALF_WIDTH = 1
DOT_STD = 1.3
WALL_X = (20, 44)  # utils.py:76, both ends included
DOOR_Y = (10, 54)  # utils.py:77


def room_of(states: NDArray[np.floating]) -> Room:
    """The layout that states (..., 4) carry, one for every state."""
    states = np.asarray(states, np.float64)
    return Room(wall_x=states[..., 2], wall_half_width=WALL_HALF_WIDTH, door_y=states[..., 3], dot_std=DOT_STD)


def simulate(states: Array, actions: Array, collisions: Collisions = "bounce", kicks: Array | None = None) -> Array:
    """Move dots along action sequences.

    Args:
        states: (..., 4).
        actions: (..., T, 2), pixels.
        collisions: see :func:`move`.
        kicks: of every step, (..., T, 2), see :func:`move`; none when None.

    Returns:
        States after every action, (..., T, 4).
    """
    lead, steps = np.broadcast_shapes(states.shape[:-1], actions.shape[:-2]), actions.shape[-2]
    path = np.empty((*lead, steps, 4), dtype=np.float64)
    for t in range(steps):
        kick = None if kicks is None else kicks[..., t, :]
        states = path[..., t, :] = move(states, actions[..., t, :], collisions, kick)
    return path


def move(states: Array, actions: Array, collisions: Collisions = "bounce", kick: Array | None = None) -> Array:
    """Move dots by one action.

    A step that meets a line ends there and at least 0.3 pixels off it; the dot keeps what it has gone along the
    line so far. With ``stop``, the rule of the published data generator, such a step does not move the dot at all.

    Differs from the reference: a step so long that it passes the door and then the far border ends at that border,
    not outside; exactly vertical steps do not divide by zero.

    Args:
        states: (..., 4).
        actions: displacements (..., 2), pixels.
        collisions: ``bounce`` or ``stop``.
        kick: how far contacts throw the dot, (..., 2), pixels; see :func:`jepawm_envs.wall.physics.travel`.

    Returns:
        New states, (..., 4).
    """
    start = np.asarray(states[..., :2], np.float64)
    end = start + np.asarray(actions, np.float64)
    room = room_of(states)
    position, met = travel(start, end, room, 0.0 if kick is None else kick)
    low, high = room.border
    outside = (position < low) | (position > high)
    position = np.where(outside, np.clip(position, low + INSIDE, high - INSIDE), position)
    if collisions == "stop":
        position = np.where((met | outside.any(axis=-1))[..., None], start, position)
    layout = np.broadcast_to(states[..., 2:], position.shape)
    return np.concatenate([position, layout], axis=-1)
