"""How far predictions are from targets: the four metrics of the reference and weighted sums of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown

Distance = Callable[[Tensor, Tensor], Tensor]
"""Mean distance of a prediction (..., D) from its target, a scalar."""


def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean negative cosine over channels; 0 where a vector is 0, which is a NaN in the reference."""
    return -F.cosine_similarity(prediction, target, dim=-1).mean()


METRICS: dict[str, Distance] = {
    "l2": F.mse_loss,
    "l1": F.l1_loss,
    "smooth_l1": F.smooth_l1_loss,
    "cos": negative_cosine,
}


def weighted(weights: Mapping[str, float]) -> Distance:
    """The weighted sum of metrics (jepa-wms ``video_wm.py:372-453``), taken in float32.

    Differs from the reference: metrics of weight 0 are not computed, so that they cannot turn a sum into NaN.

    Args:
        weights: of :data:`METRICS`, by name; what is missing has weight 0.

    Raises:
        ConfigError: for an unknown metric, or if no weight is above 0.
    """
    for name, weight in weights.items():
        if name not in METRICS:
            raise ConfigError(unknown("metric of the loss", name, METRICS))
        if not weight >= 0:
            raise ConfigError(f"The weight of metric {name!r} is {weight}; it must be 0 or more.")
    used = [(weight, METRICS[name]) for name, weight in weights.items() if weight > 0]
    if not used:
        raise ConfigError(f"No metric of the loss has a weight; give one to {', '.join(METRICS)}.")

    def distance(prediction: Tensor, target: Tensor) -> Tensor:
        found = [weight * metric(_exact(prediction), _exact(target)) for weight, metric in used]
        return found[0] if len(found) == 1 else torch.stack(found).sum()

    return distance


def _exact(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
