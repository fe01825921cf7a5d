"""Floors and ceilings that stand beside every agent. They come in by the entry point, like everybody's."""

from __future__ import annotations

from jepawm_bench.agent import AgentCard


def all_cards() -> list[AgentCard]:
    """The cards of the built-in agents."""
    return [
        AgentCard("do_nothing", "jepawm_bench.baselines.open_loop:DoNothing", "Zero actions.", kind="floor"),
        AgentCard("random", "jepawm_bench.baselines.open_loop:Random", "Uniform random actions.", kind="floor"),
        AgentCard(
            "straight_line",
            "jepawm_bench.baselines.scripted:straight_line",
            "Walks straight at the goal, knowing the true state and no obstacle.",
            kind="floor",
        ),
        AgentCard(
            "oracle",
            "jepawm_bench.baselines.scripted:oracle",
            "The environment's scripted expert, knowing the true state.",
            kind="ceiling",
        ),
    ]
