"""The table of protocols: which tasks, how many steps, what is read at the end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from jepawm_bench.errors import UsageError
from jepawm_bench.suggest import unknown

SPLITS = ("dev", "test")
EVERY_RULE = "every predicate holds after the oracle's last step"
PUBLISHED_RULE = "the published predicate holds after the oracle's last step"
SOME_STEP = "the published predicate holds after some step of the oracle"
NOTHING = "nothing is asked of the oracle"
FAMILIES = ("metaworld",)
"""Benchmarks of many environments, shown together."""


@dataclass(frozen=True)
class Protocol:
    """How one environment is played under one name. A change that can move a score is a new name."""

    name: str
    env_id: str
    """An id, or in :data:`PROTOCOLS` a pattern that stands for several."""
    budget: int
    """Environment steps of an episode; an episode never ends earlier."""
    episodes: int
    """Default number of episodes."""
    default_seed: int
    source: str
    """Where tasks come from: ``sampler`` (the environment's, by the published seed rule) or ``manifest``."""
    summary: str
    env_settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the environment that are not its defaults."""
    goal_source: str = "random_state"
    """How start and goal are found, see :mod:`jepawm_envs.goal_sources`."""
    goal_steps: int = 30
    """Environment steps between start and goal, for the goal sources that act."""
    hard_from: tuple[str, float] | None = None
    """The measure of difficulty, and the value, that separates short from long tasks: ``detour`` is the length of a
    way minus the straight distance, everything else an entry of the environment's ``difficulty``."""
    oracle_meets: str = EVERY_RULE
    """What the oracle must reach on a task of a manifest."""

    @property
    def frozen(self) -> bool:
        """Whether the tasks are a manifest, the same for every seed."""
        return self.source == "manifest"

    def covers(self, env_id: str) -> bool:
        """Whether this is a protocol for an environment."""
        return fnmatchcase(env_id, self.env_id)


def _paper(env_id: str, summary: str, **settings: Any) -> Protocol:
    return Protocol("paper", env_id, default_seed=1, summary=summary, **{"source": "sampler", **settings})


def _standard(env_id: str, budget: int, **settings: Any) -> Protocol:
    summary = f"Frozen tasks, closed loop within {budget} steps, every predicate scored, results by difficulty."
    asked = {"episodes": 200, "source": "manifest", **settings}
    return Protocol("standard", env_id, budget=budget, default_seed=1, summary=summary, **asked)


DETOUR, MAZE_DETOUR = ("detour", 10.0), ("detour", 0.5)

PROTOCOLS: tuple[Protocol, ...] = (
    _paper(
        "JepaWM/Wall-v0",
        "As published: random start and goal, one open-loop plan of 6 x 5 steps, success at the end.",
        budget=30,
        episodes=96,
        hard_from=DETOUR,
    ),
    _standard("JepaWM/Wall-v0", 60, hard_from=DETOUR),
    _paper(
        "JepaWM/TwoRooms-v0",
        "As published by EB-JEPA: its 20 tasks, 200 steps, contacts with its jitter, success at the end.",
        budget=200,
        episodes=20,
        source="manifest",
        env_settings={"jitter": 0.5},
        goal_source="official",
        oracle_meets=NOTHING,
        hard_from=DETOUR,
    ),
    _standard("JepaWM/TwoRooms-v0", 100, env_settings={"clip_actions": True}, hard_from=DETOUR),
    _paper(
        "JepaWM/PointMaze-v0",
        "As published: random start and goal, one open-loop plan of 6 x 5 steps, success at the end.",
        budget=30,
        episodes=96,
        hard_from=MAZE_DETOUR,
    ),
    _standard("JepaWM/PointMaze-v0", 60, hard_from=MAZE_DETOUR),
    *(
        protocol
        for maze, budget in (("Open", 60), ("Medium", 100), ("Large", 150))
        for protocol in (
            _paper(
                f"JepaWM/PointMaze{maze}-v0",
                f"The published rules on a maze they were not published for, with {budget} steps.",
                budget=budget,
                episodes=96,
                hard_from=MAZE_DETOUR,
            ),
            _standard(f"JepaWM/PointMaze{maze}-v0", budget, hard_from=MAZE_DETOUR),
        )
    ),
    _paper(
        "JepaWM/PushT-v0",
        "As published: goals are the end of 30 recorded actions, one open-loop plan of 6 x 5 steps, success at the "
        "end; the recordings are this suite's scripted pushes.",
        budget=30,
        episodes=96,
        goal_source="dset",
        hard_from=("block", 50.0),
    ),
    _standard("JepaWM/PushT-v0", 60, goal_source="dset", hard_from=("block", 50.0), oracle_meets=PUBLISHED_RULE),
    _paper(
        "JepaWM/Metaworld*-v0",
        "As published: goals are where the expert ends, plans of 6 x 5 steps of which half is executed, success at "
        "the end of 100 steps, the first of them a warm-up.",
        budget=99,
        episodes=48,
        goal_source="expert",
        goal_steps=100,
    ),
    _standard("JepaWM/Metaworld*-v0", 150, episodes=50, goal_source="expert", goal_steps=100, oracle_meets=SOME_STEP),
)


def find_protocol(name: str, env_id: str) -> Protocol:
    """The record of a protocol for an environment.

    Raises:
        UsageError: for an unknown protocol or environment, with the nearest names.
    """
    names = {protocol.name for protocol in PROTOCOLS}
    if name not in names:
        raise unknown("protocol", name, names)
    same_name = [protocol for protocol in PROTOCOLS if protocol.name == name]
    for protocol in same_name:
        if protocol.covers(env_id):
            return replace(protocol, env_id=env_id)
    known = ", ".join(sorted(protocol.env_id for protocol in same_name))
    raise UsageError(f"Protocol {name!r} is not defined for {env_id}; it is for {known}.")


def all_protocols() -> list[Protocol]:
    """Every protocol of every registered environment."""
    from jepawm_envs.registration import ENVIRONMENTS

    return [replace(entry, env_id=env_id) for env_id in ENVIRONMENTS for entry in PROTOCOLS if entry.covers(env_id)]


def find_env(name: str) -> str:
    """The full id for an id or its short name (``wall``).

    Raises:
        UsageError: with the nearest ids.
    """
    from jepawm_envs.registration import ENVIRONMENTS

    by_short = {short_name(env_id): env_id for env_id in ENVIRONMENTS}
    if name in ENVIRONMENTS:
        return name
    if name in by_short:
        return by_short[name]
    raise unknown("environment", name, ENVIRONMENTS)


def short_name(env_id: str) -> str:
    """``JepaWM/PointMaze-v0`` -> ``point-maze``, used in folder and file names."""
    name = re.sub(r"-v\d+$", "", env_id.rpartition("/")[2])
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def family(env_id: str) -> str:
    """The leaderboard page on which an environment stands: its own, or that of its benchmark (``metaworld``)."""
    name = short_name(env_id)
    return next((shared for shared in FAMILIES if name.startswith(f"{shared}-")), name)
