"""What a training needs to go on exactly: weights, optimizer, step, curve.

Schedules, batches and dropout are functions of the step and need no place here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jepawm_agents.errors import AgentError

LIMITS = ("max_seconds",)
"""Of table ``train``: when a training pauses, not what it learns."""
LATER: dict[str, dict[str, Any]] = {
    "data": {"validation": "", "sampling": "windows"},
    "encoder": {"weights": ""},
}
"""Settings that came later, by table, as they always were before: trainings begun without them can be resumed."""


def lasting(plan: Mapping[str, Any]) -> str:
    """What may not change of a recipe when its training is resumed, as text.

    All but :data:`LIMITS`, and but those of :data:`LATER` that are as before.
    """
    train = plan.get("train")
    if isinstance(train, Mapping):
        plan = {**plan, "train": {key: value for key, value in train.items() if key not in LIMITS}}
    for name, before in LATER.items():
        table = plan.get(name)
        if isinstance(table, Mapping):
            kept = {key: value for key, value in table.items() if key not in before or value != before[key]}
            plan = {**plan, name: kept}
    return json.dumps(plan, sort_keys=True)


def of_first_stage(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without its second stage, which may change once the first one is finished."""
    return {key: value for key, value in plan.items() if key != "refine"}


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one stage."""

    path: Path
    identity: Mapping[str, Any]
    """What must be the same for it to be continued."""

    def save(self, modules: nn.Module, optimizer: torch.optim.Optimizer, step: int, rows: list[dict[str, Any]]) -> None:
        """Write beside and move into place, so that an interruption never leaves half a checkpoint."""
        state = {
            "identity": lasting(self.identity),
            "step": step,
            "rows": json.dumps(rows),
            "modules": modules.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def restore(self, modules: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, Any]]]:
        """Fill modules and optimizer; steps done and rows of the curve.

        Raises:
            AgentError: if it is damaged or belongs to another training.
        """
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as problem:  # any damage surfaces as one of many types
            raise AgentError(
                f"The checkpoint {self.path} cannot be read ({problem}); delete it to start again."
            ) from None
        if lasting(json.loads(state["identity"])) != lasting(self.identity):
            raise AgentError(
                f"The checkpoint {self.path} belongs to other settings; choose another --out or delete it."
            )
        modules.load_state_dict(state["modules"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), json.loads(state["rows"])
