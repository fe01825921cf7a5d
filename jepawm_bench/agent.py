"""What an agent is: told the goal, given observations, it returns a chunk of actions.

Numpy in, numpy out, batched over episodes; no torch here. Axis words: E episodes, T environment steps,
A action numbers, J planner iterations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from jepawm_bench.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = ("agent", "floor", "ceiling")
OBS_TYPES = ("pixels", "state")


@dataclass(frozen=True)
class EpisodeKey:
    """Names the randomness of one episode, whatever batch or process it is played in."""

    seed: int
    """Seed of the run."""
    episode: int
    """Index of the task in the task list."""


class Chunk(NamedTuple):
    """Answer of one :meth:`Agent.act`."""

    actions: NDArray[np.float64]
    """Environment actions for the next T steps, (E, T, A), in the environment's units."""
    model_evaluations: int | NDArray[np.integer[Any]] = 0
    """Candidate action sequences scored for an episode: one number for all of them, or one each, (E,)."""
    trace: Mapping[str, NDArray[Any]] | None = None
    """Optional planner trace, each (E, J)."""


class Agent(Protocol):
    """Anything that plays.

    It may carry an attribute ``provenance``, a mapping (hash of the weights under ``weights_sha256``,
    precision, sizes) that is stored with every run, and an attribute ``observation_options``, a mapping of arguments
    with which its environment should show things, such as ``{"channels": "two"}`` on Two Rooms. Only those that an
    environment names as its own ``observation_options`` are possible: they change no physics, task or success.
    """

    @property
    def obs_type(self) -> str:
        """What its environment must show: ``pixels`` or ``state``.

        In ``state`` mode the harness adds the exact ``state`` and ``goal_state`` (float64) to the keys of
        the environment, for oracles.
        """
        ...

    @property
    def image_size(self) -> int:
        """Height and width of the images rendered for it; ignored in ``state`` mode."""
        ...

    def reset(self, observation: Mapping[str, NDArray[Any]], keys: Sequence[EpisodeKey]) -> None:
        """Start E episodes and forget everything of earlier ones.

        Args:
            observation: the first observations, goal entries included, stacked on axis 0.
            keys: one for each episode.
        """
        ...

    def act(self, observation: Mapping[str, NDArray[Any]], steps_left: int) -> Chunk:
        """Choose the next actions of every episode.

        Args:
            observation: the current observations, stacked on axis 0.
            steps_left: environment steps until the budget ends, the same for the whole batch.
        """
        ...


@dataclass(frozen=True)
class AgentCard:
    """An agent's entry in the catalogue: data only, nothing is imported until it plays."""

    name: str
    factory: str
    """``module:callable``, called with an :class:`AgentRequest`, returns an :class:`Agent`."""
    description: str = ""
    envs: tuple[str, ...] = ("*",)
    """Ids it can play, or patterns such as ``JepaWM/Metaworld*``; ``*`` means any."""
    default_env: str | None = None
    """Played when no environment is given."""
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})
    """Variant to its settings; the first is the default."""
    kind: str = "agent"
    """``floor`` and ``ceiling`` are marked in tables and not ranked."""
    requires: str | None = None
    """The extra that must be installed."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name):
            raise UsageError(f"{self.name!r} cannot be an agent's name; use letters, digits, '_', '-' and '.'.")
        if not re.fullmatch(r"[\w.]+:[\w.]+", self.factory):
            raise UsageError(f"Agent {self.name!r}: factory {self.factory!r} is not of the form module:callable.")
        if self.kind not in KINDS:
            raise UsageError(f"Agent {self.name!r}: kind {self.kind!r} is not one of {', '.join(KINDS)}.")
        if not self.variants:
            raise UsageError(f"Agent {self.name!r} has no variant; give it at least one.")

    @property
    def default_variant(self) -> str:
        """The variant meant by the bare name."""
        return next(iter(self.variants))


@dataclass(frozen=True)
class AgentRequest:
    """Everything a factory needs to make an agent."""

    card: AgentCard
    variant: str
    settings: Mapping[str, Any]
    """The variant's settings after protocol and overrides; the factory refuses keys it does not know."""
    env_id: str
    protocol: str
    device: str
    """``cpu`` or ``cuda``."""
    weights: str | None = None
    """A file to use instead of the card's weights."""
    env_settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments with which the protocol makes the environment, for agents that need one of their own."""
