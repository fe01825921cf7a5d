"""How Push-T moves: a round pusher under PD control, a block, four walls, in a pymunk space.

Source of every constant: the Push-T environment of jepa-wms (commit 6eafb14, ``pusht_env.py:380-494, 646-798``), which
is that of DINO-WM and of Diffusion Policy. Units are pixels of a 512 x 512 canvas and seconds, x right, y down, angles
in radians.

A state is (agent x, agent y, block x, block y, block angle, agent vx, agent vy). It is not all there is: the block's
velocity and the contact solver's warm start live in the space only, so that a running episode and one that is
restarted from its states differ slightly after contacts, as in the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pymunk
from numpy.typing import NDArray

# The stepping loop talks to the compiled library below pymunk's classes: those cost four times the physics.
from pymunk._chipmunk_cffi import ffi, lib  # type: ignore[import-untyped]

from jepawm_envs.pusht.shapes import SHAPES, BlockShape

Array = NDArray[np.float64]

CANVAS = 512
SUBSTEP = 0.01
SUBSTEPS = 10
KP, KV = 100.0, 20.0
PIXELS_PER_ACTION = 100.0
AGENT_RADIUS = 15.0
WALL_RADIUS = 2.0
WALL_NEAR, WALL_FAR = 5.0, 506.0
WALLS = (
    ((WALL_NEAR, WALL_FAR), (WALL_NEAR, WALL_NEAR)),
    ((WALL_NEAR, WALL_NEAR), (WALL_FAR, WALL_NEAR)),
    ((WALL_FAR, WALL_NEAR), (WALL_FAR, WALL_FAR)),
    ((WALL_NEAR, WALL_FAR), (WALL_FAR, WALL_FAR)),
)
TWO_PI = 2 * math.pi

# Where bodies stand before a state is set. The collision tree keeps a trace of it, so it belongs to the physics.
_AGENT_HOME = (256.0, 400.0)
_BLOCK_HOME = (256.0, 300.0)


@dataclass(frozen=True)
class World:
    """What one simulator is made of.

    Attributes:
        shape: name of the block, a key of :data:`jepawm_envs.pusht.shapes.SHAPES`.
        agent_radius: of the pusher, pixels.
        block_mass: the published block has mass 1. The moment of inertia stays: with a pusher and walls that nothing
            moves, mass and moment in proportion would change nothing.
        friction: coefficient of all shapes. 0 as in the reference, which sets it on bodies, where it has no effect.
        block_scale: multiplies all lengths of the block.
    """

    shape: str = "T"
    agent_radius: float = AGENT_RADIUS
    block_mass: float = 1.0
    friction: float = 0.0
    block_scale: float = 1.0

    @property
    def block(self) -> BlockShape:
        """The block's polygons, pixels, in its own frame."""
        return SHAPES[self.shape].scaled(self.block_scale)


WORLD = World()


class Simulator:
    """One running Push-T world.

    Args:
        world: shape and physical parameters.
    """

    def __init__(self, world: World = WORLD):
        self.world = world
        self._velocity = ffi.new("cpVect *")
        self._build()

    def __del__(self) -> None:
        if "_space" in self.__dict__:
            self._clear()

    def place(self, state: Array) -> None:
        """Start anew in exactly this state (7,), with the block at rest and no memory of earlier contacts."""
        if self._used:
            self._clear()
            self._build()
        x, y, block_x, block_y, angle, vx, vy = (float(value) for value in state)
        self._agent.velocity = vx, vy
        self._agent.position = x, y
        self._block.angle = angle
        self._block.position = block_x, block_y
        self._v = [vx, vy]

    def settle(self) -> None:
        """One substep without control, as the reference takes after setting a state (``pusht_env.py:668``)."""
        self._used = True
        lib.cpSpaceStep(self._raw_space, SUBSTEP)

    def step(self, action: Sequence[float] | Array) -> None:
        """Advance 0.1 s towards a target that lies ``action`` (2,), in units of 100 pixels, from the agent."""
        self._drive(action, None)

    def step_counting(self, action: Sequence[float] | Array) -> int:
        """As :meth:`step`.

        Returns:
            The block's contact points a substep, mean rounded up, which the reference calls ``n_contacts``.
        """
        counts: list[int] = []
        self._drive(action, lambda: counts.append(self.contact_points()))
        return math.ceil(sum(counts) / SUBSTEPS)

    def _drive(self, action: Sequence[float] | Array, after_substep: Callable[[], None] | None) -> None:
        self._used = True
        space, agent, velocity = self._raw_space, self._raw_agent, self._velocity
        get_position, set_velocity, advance = lib.cpBodyGetPosition, lib.cpBodySetVelocity, lib.cpSpaceStep
        vx, vy = self._v
        position = get_position(agent)
        x, y = position.x, position.y
        target_x = x + float(action[0]) * PIXELS_PER_ACTION
        target_y = y + float(action[1]) * PIXELS_PER_ACTION
        for _ in range(SUBSTEPS):
            vx += (KP * (target_x - x) + KV * (0.0 - vx)) * SUBSTEP
            vy += (KP * (target_y - y) + KV * (0.0 - vy)) * SUBSTEP
            velocity.x, velocity.y = vx, vy
            set_velocity(agent, velocity[0])
            advance(space, SUBSTEP)
            position = get_position(agent)
            x, y = position.x, position.y
            if after_substep is not None:
                after_substep()
        self._v = [vx, vy]

    @property
    def state(self) -> Array:
        """The current state, (7,), angle in [0, 2 pi)."""
        agent = lib.cpBodyGetPosition(self._raw_agent)
        block = lib.cpBodyGetPosition(self._raw_block)
        angle = lib.cpBodyGetAngle(self._raw_block) % TWO_PI
        return np.array([agent.x, agent.y, block.x, block.y, angle, *self._v])

    def contact_points(self) -> int:
        """Contact points of the block in the last substep."""
        counts: list[int] = []
        self._block.each_arbiter(lambda arbiter: counts.append(len(arbiter.contact_point_set.points)))
        return sum(counts)

    def _clear(self) -> None:
        """Take everything out of the space while it is still referenced.

        Otherwise pymunk's finalizers do it, and when another thread's garbage collection runs them (a progress
        bar's, say) space and shapes may be freed at the same moment, which aborts the process.
        """
        self._space.remove(*self._space.shapes, *self._space.bodies)

    def _build(self) -> None:
        world = self.world
        space = pymunk.Space()
        space.gravity = 0, 0
        space.damping = 0
        ground = pymunk.Body(body_type=pymunk.Body.STATIC)  # not the space's own, which _clear() could not reach
        walls = [pymunk.Segment(ground, a, b, WALL_RADIUS) for a, b in WALLS]
        space.add(ground, *walls)
        agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        agent.position = _AGENT_HOME
        disc = pymunk.Circle(agent, world.agent_radius)
        space.add(agent, disc)
        block, parts = _block_body(world)
        block.position = _BLOCK_HOME
        space.add(block, *parts)
        for shape in (*walls, disc, *parts):
            shape.friction = world.friction
        self._space, self._agent, self._block = space, agent, block
        self._raw_space, self._raw_agent, self._raw_block = space._space, agent._body, block._body
        self._v = [0.0, 0.0]
        self._used = False


def _block_body(world: World) -> tuple[pymunk.Body, list[pymunk.Poly]]:
    block = world.block
    moment = sum(pymunk.moment_for_poly(1.0, part) for part in block.inertia_parts)
    body = pymunk.Body(world.block_mass, moment)
    parts = [pymunk.Poly(body, part) for part in block.parts]
    x, y = zip(*(part.center_of_gravity for part in parts), strict=True)
    body.center_of_gravity = sum(x) / len(parts), sum(y) / len(parts)
    return body, parts


def prepare(simulator: Simulator, state: Array) -> Array:
    """Begin an episode as the reference does: set the state, then one substep of 0.01 s.

    Args:
        simulator: is placed anew.
        state: (7,).

    Returns:
        The state in which the episode begins, (7,); the agent has moved by a hundredth of its velocity.
    """
    simulator.place(state)
    simulator.settle()
    return simulator.state


def simulate(simulator: Simulator, states: Array, actions: Array) -> Array:
    """Run action sequences from exactly the given states, without the extra substep of :func:`prepare`.

    Args:
        simulator: is placed anew for every sequence.
        states: (..., 7).
        actions: (..., T, 2), units of 100 pixels; not clipped.

    Returns:
        States after every action, (..., T, 7).
    """
    lead = np.broadcast_shapes(states.shape[:-1], actions.shape[:-2])
    steps = actions.shape[-2]
    starts = np.broadcast_to(states, (*lead, 7)).reshape(-1, 7)
    sequences = np.broadcast_to(actions, (*lead, steps, 2)).reshape(-1, steps, 2)
    paths = np.empty((len(starts), steps, 7))
    for start, sequence, path in zip(starts, sequences.tolist(), paths, strict=True):
        simulator.place(start)
        for t, action in enumerate(sequence):
            simulator.step(action)
            path[t] = simulator.state
    return paths.reshape(*lead, steps, 7)
