"""The training loop that every stage shares: steps, schedule, clipping, curves, checkpoint, exact resume."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jepawm_agents.errors import AgentError

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with (stage, steps done, steps, latest figures)."""


@dataclass(frozen=True)
class LoopSettings:
    """Settings of a loop; names as in the recipes."""

    steps: int
    learning_rate: float
    weight_decay: float
    final_learning_rate: float = 0.0
    """Where the cosine ends."""
    warm_up: float = 0.05
    """Share of the steps over which the learning rate rises; it then falls along a cosine."""
    clip_grad: float = 1.0
    log_every: int = 50
    validate_every: int = 1000
    checkpoint_every: int = 500


def run_loop(
    stage: str,
    modules: nn.Module,
    settings: LoopSettings,
    loss_of_step: Callable[[int], Tensor],
    validate: Callable[[], Mapping[str, float]],
    *,
    out: Path,
    identity: Mapping[str, Any],
    resume: bool,
    progress: Progress,
    clipped: Sequence[nn.Module] | None = None,
) -> dict[str, float]:
    """Train ``modules`` in place.

    Args:
        stage: name of this stage, of its checkpoint and of its curve.
        modules: everything that is trained.
        settings: of the loop.
        loss_of_step: the loss of step k; it must draw its randomness from k.
        validate: figures on held-out episodes.
        out: folder for ``{stage}.ckpt`` and ``{stage}.csv``.
        identity: what must be the same for a checkpoint to be continued.
        resume: continue from the checkpoint if there is one.
        progress: told about every step.
        clipped: parts whose gradients are clipped, each by its own norm; by default ``modules`` as a whole.

    Returns:
        The last validation figures.

    Raises:
        AgentError: if the checkpoint belongs to another training, or the loss is no longer a number.
    """
    optimizer = torch.optim.AdamW(
        _parameter_groups(modules, settings.weight_decay), lr=settings.learning_rate, weight_decay=0.0
    )
    checkpoint, curve = out / f"{stage}.ckpt", out / f"{stage}.csv"
    first, rows = 0, []
    if resume and checkpoint.exists():
        first, rows = _restore(checkpoint, modules, optimizer, identity)
    figures = _figures(rows)
    began = time.monotonic() - (rows[-1]["seconds"] if rows else 0.0)
    final = settings.final_learning_rate / settings.learning_rate
    for step in range(first, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(step, settings.steps, settings.warm_up, final)
        loss = loss_of_step(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for part in [modules] if clipped is None else clipped:
            nn.utils.clip_grad_norm_(part.parameters(), settings.clip_grad)
        optimizer.step()
        done = step + 1
        last = done == settings.steps
        if last or done % settings.log_every == 0:
            figures["loss"] = _finite(loss, stage, done)
        if last or done % settings.validate_every == 0:
            figures.update(validate())
            rows.append({"step": done, "seconds": round(time.monotonic() - began, 1), **figures})
            _write_curve(curve, rows)
        if last or done % settings.checkpoint_every == 0:
            _save(checkpoint, modules, optimizer, identity, done, rows)
        progress(stage, done, settings.steps, figures)
    return _figures(rows)


def _figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The last row of a curve without its clock."""
    return {name: value for name, value in (rows[-1] if rows else {}).items() if name not in ("step", "seconds")}


def schedule(step: int, steps: int, warm_up: float = 0.05, final: float = 0.0) -> float:
    """Factor of the learning rate at a step: a linear rise, then a cosine to ``final``."""
    warm = max(1, round(steps * warm_up))
    if step < warm:
        return (step + 1) / warm
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _parameter_groups(modules: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and one-dimensional weights are not decayed (jepa-wms ``utils.py:873-933``)."""
    parameters = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _finite(loss: Tensor, stage: str, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise AgentError(f"The loss of {stage} is {value} at step {step}; lower the learning rate.")
    return value


def _write_curve(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)


def _save(path: Path, modules, optimizer, identity, step: int, rows: list[dict[str, Any]]) -> None:
    """Write beside and move into place, so that an interruption never leaves half a checkpoint."""
    state = {
        "identity": json.dumps(identity, sort_keys=True),
        "step": step,
        "rows": json.dumps(rows),
        "modules": modules.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def _restore(path: Path, modules, optimizer, identity) -> tuple[int, list[dict[str, Any]]]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # any damage surfaces as one of many types
        raise AgentError(f"The checkpoint {path} cannot be read ({problem}); delete it to start again.") from None
    if state["identity"] != json.dumps(identity, sort_keys=True):
        raise AgentError(f"The checkpoint {path} belongs to other settings; choose another --out or delete it.")
    modules.load_state_dict(state["modules"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), json.loads(state["rows"])
