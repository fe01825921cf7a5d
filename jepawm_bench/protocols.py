"""The table of protocols: which tasks, how many steps, what is read at the end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jepawm_bench.errors import UsageError
from jepawm_bench.suggest import unknown

SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Protocol:
    """How one environment is played under one name. A change that can move a score is a new name."""

    name: str
    env_id: str
    budget: int
    """Environment steps of an episode; an episode never ends earlier."""
    episodes: int
    """Default number of episodes."""
    default_seed: int
    source: str
    """Where tasks come from: ``sampler`` (the environment's, by the published seed rule) or ``manifest``."""
    summary: str
    detour_limit: float = 0.0
    """Length of a way minus the straight distance that separates short from long detours, in state units."""

    @property
    def frozen(self) -> bool:
        """Whether the tasks are a manifest, the same for every seed."""
        return self.source == "manifest"


PROTOCOLS: tuple[Protocol, ...] = (
    Protocol(
        "paper",
        "JepaWM/Wall-v0",
        budget=30,
        episodes=96,
        default_seed=1,
        source="sampler",
        summary="As published: random start and goal, one open-loop plan of 6 x 5 steps, success at the end.",
        detour_limit=10.0,
    ),
    Protocol(
        "standard",
        "JepaWM/Wall-v0",
        budget=60,
        episodes=200,
        default_seed=1,
        source="manifest",
        summary="Frozen tasks, closed loop within 60 steps, every predicate scored, results by difficulty.",
        detour_limit=10.0,
    ),
)


def find_protocol(name: str, env_id: str) -> Protocol:
    """The record of a protocol for an environment.

    Raises:
        UsageError: for an unknown protocol or environment, with the nearest names.
    """
    names = {protocol.name for protocol in PROTOCOLS}
    if name not in names:
        raise unknown("protocol", name, names)
    envs = {protocol.env_id: protocol for protocol in PROTOCOLS if protocol.name == name}
    if env_id not in envs:
        raise UsageError(f"Protocol {name!r} is not defined for {env_id}; it is for {', '.join(sorted(envs))}.")
    return envs[env_id]


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
