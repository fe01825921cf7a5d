"""What can go wrong with an agent, each a plain sentence."""

from __future__ import annotations


class AgentError(Exception):
    """Base of this package's errors; the message says what, where and what to do."""


class WeightsError(AgentError):
    """A weights file or dictionary that does not fit, is damaged or is missing."""


class PlanningError(AgentError):
    """A search that cannot go on, such as one whose costs are no numbers."""


class ConfigError(AgentError, ValueError):
    """An unknown or impossible setting."""
