"""World models, planners and the agents made of them.

Importing this package does not import torch: names are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepawm_agents.agent import JEPAWMAgent as JEPAWMAgent
    from jepawm_agents.loading import load_agent as load_agent

_NAMES = {
    "JEPAWMAgent": "jepawm_agents.agent",
    "load_agent": "jepawm_agents.loading",
}


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'jepawm_agents' has no attribute {name!r}")
