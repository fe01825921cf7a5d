"""The table of environments: one record an id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from jepawm_envs.metaworld_tasks import tasks as metaworld


@dataclass(frozen=True)
class EnvRecord:
    """What is registered under one id."""

    id: str
    entry_point: str
    """``module:class``, imported when the environment is made."""
    max_episode_steps: int
    """Step limit, that of the published evaluation."""
    summary: str
    """One line for ``jepawm-bench list envs``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that make this one out of its class."""
    extra: str | None = None
    """The extra of the distribution that it needs."""
    slow: bool = False
    """Whether an episode takes the simulator long; then checks of many runs replay a sample."""


_METAWORLD = tuple(
    EnvRecord(
        metaworld.env_id(task),
        "jepawm_envs.metaworld_tasks.env:MetaworldEnv",
        max_episode_steps=99,  # of the published 100 the first is a warm-up, which the reset includes
        summary=metaworld.summary(task),
        settings={"task": task},
        extra="metaworld",
        slow=True,
    )
    for task in metaworld.TASKS
)

ENVIRONMENTS: dict[str, EnvRecord] = {
    record.id: record
    for record in (
        EnvRecord(
            "JepaWM/Wall-v0",
            "jepawm_envs.wall.env:WallEnv",
            max_episode_steps=30,
            summary="Two rooms, a wall with one door: bring the dot to the other side.",
        ),
        EnvRecord(
            "JepaWM/TwoRooms-v0",
            "jepawm_envs.tworooms.env:TwoRoomsEnv",
            max_episode_steps=200,
            summary="Two rooms, a wall and a door that are elsewhere in every task: bring the dot to the other side.",
        ),
        EnvRecord(
            "JepaWM/PointMaze-v0",
            "jepawm_envs.pointmaze.env:PointMazeEnv",
            max_episode_steps=30,
            summary="Drive a heavy ball through a U-shaped maze.",
        ),
        *(
            EnvRecord(
                f"JepaWM/PointMaze{maze.capitalize()}-v0",
                "jepawm_envs.pointmaze.env:PointMazeEnv",
                max_episode_steps=steps,
                summary=f"Drive a heavy ball through D4RL's {maze} maze.",
                settings={"maze": maze},
            )
            for maze, steps in (("open", 60), ("medium", 100), ("large", 150))
        ),
        EnvRecord(
            "JepaWM/PushT-v0",
            "jepawm_envs.pusht.env:PushTEnv",
            max_episode_steps=30,
            summary="Push a T-shaped block to a position and angle, and come to rest where the goal shows the agent.",
        ),
        *_METAWORLD,
    )
}


def register_all() -> None:
    """Register every id with Gymnasium; calling it again changes nothing."""
    for record in ENVIRONMENTS.values():
        if record.id not in gymnasium.registry:
            gymnasium.register(
                record.id,
                entry_point=record.entry_point,
                max_episode_steps=record.max_episode_steps,
                kwargs=dict(record.settings),
            )
