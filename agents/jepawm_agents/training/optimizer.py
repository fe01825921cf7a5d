"""AdamW as the loop uses it: which weights decay, the rates of a step, clipping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from jepawm_agents.training.schedules import learning_rate, weight_decay

if TYPE_CHECKING:
    from jepawm_agents.training.loop import LoopSettings


def make_optimizer(modules: nn.Module, settings: LoopSettings) -> torch.optim.AdamW:
    """AdamW on what is trained of ``modules``; :func:`set_rates` must be called before every step."""
    beta_1, beta_2 = settings.betas
    return torch.optim.AdamW(
        _parameter_groups(modules),
        lr=settings.learning_rate,
        betas=(beta_1, beta_2),
        eps=settings.epsilon,
        weight_decay=0.0,
    )


def set_rates(optimizer: torch.optim.Optimizer, settings: LoopSettings, step: int) -> float:
    """Give every group the rates of a step; the learning rate is returned."""
    rate = learning_rate(
        step,
        settings.steps,
        peak=settings.learning_rate,
        start=settings.start_learning_rate,
        final=settings.final_learning_rate,
        warm_up=settings.warm_up,
        schedule=settings.schedule,
        anneal=settings.anneal,
    )
    final = settings.weight_decay if settings.final_weight_decay < 0 else settings.final_weight_decay
    decay = weight_decay(step, settings.steps, first=settings.weight_decay, final=final)
    decaying, plain = optimizer.param_groups
    decaying["lr"] = plain["lr"] = rate
    decaying["weight_decay"], plain["weight_decay"] = decay, 0.0
    return rate


def clip_gradients(parameters: Iterable[Tensor], longest: float) -> Tensor:
    """Scale the gradients so that together they are no longer than ``longest``; 0 or less: they stay.

    Returns:
        Their length before, a scalar.
    """
    gradients = [parameter for parameter in parameters if parameter.grad is not None]
    if longest > 0:
        return nn.utils.clip_grad_norm_(gradients, longest)
    return nn.utils.get_total_norm([parameter.grad for parameter in gradients if parameter.grad is not None])


def _parameter_groups(modules: nn.Module) -> list[dict[str, Any]]:
    """Biases and one-dimensional weights are not decayed (jepa-wms ``utils.py:873-933``)."""
    parameters = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1]},
    ]
