"""A task: where an episode starts, what it must reach, and how hard that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium

from jepawm_bench.canonical import sha256
from jepawm_bench.difficulty import difficulty
from jepawm_bench.protocols import Protocol


@dataclass(frozen=True)
class Task:
    """One episode's assignment, simulator states included."""

    index: int
    env_id: str
    init_state: tuple[float, ...]
    goal_state: tuple[float, ...]
    seed: int
    """Seed that the sampler was given."""
    provenance: str
    """Where the states come from, ``random_state`` for the environment's sampler."""
    difficulty: Mapping[str, Any]
    """``bin`` and the numbers behind it."""

    @property
    def bin(self) -> str:
        """Name of the difficulty bin."""
        return str(self.difficulty["bin"])

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {**asdict(self), "init_state": list(self.init_state), "goal_state": list(self.goal_state)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Task:
        """The task that :meth:`to_json` wrote."""
        states = {key: tuple(float(x) for x in data[key]) for key in ("init_state", "goal_state")}
        return cls(**{**data, **states})


def sample_task(env: Any, protocol: Protocol, index: int, seed: int) -> Task:
    """The task that the protocol's goal source gives for ``seed``."""
    from jepawm_envs.goal_sources import draw_task

    drawn = draw_task(env, protocol.goal_source, seed, steps=protocol.goal_steps)
    return Task(
        index=index,
        env_id=protocol.env_id,
        init_state=tuple(drawn.init.tolist()),
        goal_state=tuple(drawn.goal.tolist()),
        seed=seed,
        provenance=drawn.provenance,
        difficulty=difficulty(env, drawn.init, drawn.goal, protocol),
    )


def make_world(env_id: str, settings: Mapping[str, Any] | None = None) -> Any:
    """The bare environment, for its sampler, dynamics and predicates; nothing is drawn.

    Args:
        env_id: which.
        settings: its arguments; those of a protocol are in ``Protocol.env_settings``.
    """
    return gymnasium.make(
        env_id, obs_type="state", render_mode=None, disable_env_checker=True, **(settings or {})
    ).unwrapped


def tasks_hash(tasks: Sequence[Task]) -> str:
    """Content hash of a task list; two runs with the same hash can be compared task by task."""
    return sha256([task.to_json() for task in tasks])
