"""World models, planners and the agents made of them.

Importing this package does not import torch: names are loaded when first used.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "JEPAWMAgent": "jepawm_agents.agent",
    "load_agent": "jepawm_agents.loading",
}

__all__ = ["JEPAWMAgent", "load_agent"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'jepawm_agents' has no attribute {name!r}")
