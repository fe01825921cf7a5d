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
from jepawm_bench.settings import flatten

LIMITS = ("train.max_seconds", "data.collect.workers")
"""When a training pauses and how many collect its data, not what it learns."""
LATER = {"data.validation": "", "data.sampling": "windows", "encoder.weights": ""}
"""Settings that came later, as they always were before: trainings begun without them can be resumed."""


def lasting(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What may not change of a recipe when its training is resumed: dotted keys and values.

    All but :data:`LIMITS`, and but those of :data:`LATER` that are as before.
    """
    return {
        key: value
        for key, value in flatten(plan).items()
        if key not in LIMITS and not (key in LATER and value == LATER[key])
    }


def changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The dotted keys of what differs between two recipes and may not, sorted."""
    asked, found = lasting(one), lasting(other)
    return sorted(key for key in asked.keys() | found.keys() if asked.get(key) != found.get(key))


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
            "identity": json.dumps(self.identity),
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
        differing = changed(json.loads(state["identity"]), json.loads(json.dumps(self.identity)))
        if differing:
            raise AgentError(
                f"The checkpoint {self.path} belongs to other settings; choose another --out or delete it. They differ "
                f"in {', '.join(differing)}."
            )
        modules.load_state_dict(state["modules"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), json.loads(state["rows"])
