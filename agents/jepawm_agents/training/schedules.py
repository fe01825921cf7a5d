"""Learning rate and weight decay as functions of the step (jepa-wms ``src/utils/schedulers.py``, commit 6eafb14).

Differs from the reference: a falling part takes its first value at its first step and ends one step short of its
last value, where the reference's takes neither; a factor 1 / steps apart.
"""

from __future__ import annotations

import math

SCHEDULES = ("cosine", "constant", "wsd")


def learning_rate(
    step: int,
    steps: int,
    *,
    peak: float,
    start: float = 0.0,
    final: float = 0.0,
    warm_up: float = 0.05,
    schedule: str = "cosine",
    anneal: float = 0.0,
) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``.

    It rises on a line from ``start`` to ``peak``, reached at the end of the warm-up, and then falls along a cosine to
    ``final`` (``cosine``), stays (``constant``), or stays and falls on a line to ``final`` at the end (``wsd``).

    Args:
        step: number of the step.
        steps: of the whole training.
        peak: highest rate.
        start: rate from which it rises.
        final: rate to which it falls.
        warm_up: share of the steps over which it rises, one step at least unless it is 0.
        schedule: one of :data:`SCHEDULES`.
        anneal: share of the steps over which ``wsd`` falls.
    """
    warm = max(1, round(steps * warm_up)) if warm_up > 0 else 0
    if step < warm:
        return start + (peak - start) * ((step + 1) / warm)
    if schedule == "cosine":
        return final + (peak - final) * _cosine(step - warm, steps - warm)
    flat = steps - round(steps * anneal)
    if schedule == "wsd" and step >= flat:
        return final + (peak - final) * (1.0 - (step - flat) / (steps - flat))
    return peak


def weight_decay(step: int, steps: int, *, first: float, final: float) -> float:
    """The weight decay of a step, along a cosine from ``first`` to ``final``."""
    return final + (first - final) * _cosine(step, steps)


def _cosine(step: int, steps: int) -> float:
    """From one to nearly zero."""
    return 0.5 * (1.0 + math.cos(math.pi * step / max(1, steps)))
