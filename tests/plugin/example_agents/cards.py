"""The catalogue entries."""

from jepawm_bench.agent import AgentCard


def all_cards() -> list[AgentCard]:
    """Cards of an agent that works and of agents that fail in their own ways."""
    return [
        AgentCard(
            "example_drift",
            "example_agents.play:Drift",
            "Draws each action from its key, slowly if asked to.",
            default_env="JepaWM/Wall-v0",
            variants={
                "gentle": {"scale": 0.5, "seconds": 0.0, "protocols": {"standard": {"scale": 0.25}}},
                "wild": {"scale": 2.0, "seconds": 0.0},
            },
        ),
        AgentCard("example_looker", "example_agents.play:Looker", "Looks at images.", default_env="JepaWM/Wall-v0"),
        AgentCard("example_crash", "example_agents.play:Crash", "Raises an exception in episode 2."),
        AgentCard("example_nan", "example_agents.play:NotANumber", "Answers NaN."),
        AgentCard("example_heavy", "example_agents.heavy:make", "Imports what is not there.", requires="agents"),
    ]
