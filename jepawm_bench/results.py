"""What a run gives: episode records, their summary, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from jepawm_bench.scoring import PredicateScore

Trace = dict[str, NDArray[Any]]
"""``states`` (T + 1, S), ``actions`` (T, A), and ``plan_<name>`` (plans, J) where a planner gave a trace."""

TIMINGS = ("plan_seconds", "env_seconds")
"""The only fields that may differ between two runs of the same command."""


@dataclass(frozen=True)
class EpisodeRecord:
    """One line of ``episodes.jsonl``."""

    episode: int
    """Index of the task in the task list."""
    seed: int
    """Seed that the task's sampler was given."""
    bin: str
    """Difficulty bin of the task."""
    init_state: tuple[float, ...]
    goal_state: tuple[float, ...]
    success: bool
    """The published predicate after the last step."""
    success_any: bool
    """The published predicate after any step."""
    steps_to_success: int | None
    """First step after which the published predicate held."""
    final_distance: float
    min_distance: float
    return_: float
    """Sum of rewards; ``return`` in JSON."""
    steps: int
    """Environment steps taken."""
    plans: int
    """Times the agent was asked."""
    model_evaluations: int
    """Candidate action sequences scored."""
    predicates: Mapping[str, PredicateScore]
    plan_seconds: float
    """Time of the agent; for episodes planned together, the batch's time divided by its size."""
    env_seconds: float
    """Time of the environment, shared in the same way."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object in the contract's field names."""
        data = {key: value for key, value in self.__dict__.items() if key != "return_"}
        data |= {"init_state": list(self.init_state), "goal_state": list(self.goal_state), "return": self.return_}
        data["predicates"] = {name: result.to_json() for name, result in self.predicates.items()}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EpisodeRecord:
        """The record that :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError: when fields are missing or unknown.
        """
        fields = dict(data)
        fields["return_"] = fields.pop("return")
        fields["predicates"] = {name: PredicateScore(**result) for name, result in data["predicates"].items()}
        for key in ("init_state", "goal_state"):
            fields[key] = tuple(float(x) for x in data[key])
        return cls(**fields)

    def outcome(self) -> dict[str, Any]:
        """Everything but the timings: the same for every batch size, worker count and repetition."""
        return {key: value for key, value in self.to_json().items() if key not in TIMINGS}


@dataclass(frozen=True)
class Finished:
    """An episode that is done."""

    record: EpisodeRecord
    trace: Trace


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    summary: Mapping[str, Any]
    """The content of ``summary.json``."""
    records: tuple[EpisodeRecord, ...]
    """Sorted by episode."""
    traces: Mapping[int, Trace] = field(repr=False)
    """By episode."""
    path: Path | None = None
    """The run folder, if one was written."""

    @property
    def success_rate(self) -> float:
        """Share of episodes that end in success, 0 to 1."""
        return float(self.summary["success_rate"])
