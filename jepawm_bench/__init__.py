"""The harness of jepawm-bench: run, score and compare planning agents. Imports neither torch nor Gymnasium.

Importing it registers the environment ids (``JepaWM/Wall-v0``, ...) with Gymnasium.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from jepawm_bench.late_registration import register_ids

if TYPE_CHECKING:
    from jepawm_bench.agent import Agent as Agent
    from jepawm_bench.agent import AgentCard as AgentCard
    from jepawm_bench.agent import AgentRequest as AgentRequest
    from jepawm_bench.agent import Chunk as Chunk
    from jepawm_bench.agent import EpisodeKey as EpisodeKey
    from jepawm_bench.errors import BenchError as BenchError
    from jepawm_bench.evaluation import evaluate as evaluate
    from jepawm_bench.results import RunResult as RunResult

__version__ = "0.1.0"

_HOME = {
    "Agent": "agent",
    "AgentCard": "agent",
    "AgentRequest": "agent",
    "BenchError": "errors",
    "Chunk": "agent",
    "EpisodeKey": "agent",
    "RunResult": "results",
    "evaluate": "evaluation",
}
"""Public name to its module, imported when first used."""

register_ids()


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"jepawm_bench.{_HOME[name]}"), name)
    raise AttributeError(f"module 'jepawm_bench' has no attribute {name!r}")
