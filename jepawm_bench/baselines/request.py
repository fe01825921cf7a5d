"""What every built-in agent asks of its request."""

from __future__ import annotations

from jepawm_bench.agent import AgentRequest
from jepawm_bench.settings import flatten


def refuse_settings(request: AgentRequest) -> None:
    """Refuse settings and weights: these agents have none.

    Raises:
        ValueError: naming what was given.
    """
    given = list(flatten(request.settings)) + (["--weights"] if request.weights else [])
    if given:
        raise ValueError(f"it has no settings, but was given {', '.join(given)}.")
