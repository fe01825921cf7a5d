"""What encoders and predictors are trained on.

The encoder's four terms are those of EB-JEPA (arXiv 2602.03604), after VICReg (arXiv 2105.04906). The
predictor's are those of JEPA-WM (jepa-wms ``video_wm.py:372-701``, commit 6eafb14).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from jepawm_agents.world_models.base import Prediction, Predictor

STD_FLOOR = 1e-4


def variance(z: Tensor) -> Tensor:
    """Hinge that keeps the deviation of every dimension of (B, F) above one."""
    return F.relu(1.0 - torch.sqrt(z.var(dim=0) + STD_FLOOR)).mean()


def covariance(z: Tensor) -> Tensor:
    """Mean squared covariance between different dimensions of (B, F), a dimension."""
    centred = z - z.mean(dim=0)
    matrix = centred.T @ centred / (len(z) - 1)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / z.shape[1]


def feature_distance(prediction: Prediction, visual: Tensor, proprio: Tensor | None) -> Tensor:
    """Mean squared error of the visual part plus, with equal weight, of the proprio part."""
    loss = F.mse_loss(prediction.visual, visual)
    if proprio is None or prediction.proprio is None:
        return loss
    return loss + F.mse_loss(prediction.proprio, proprio)


def world_model_loss(
    predictor: Predictor,
    visual: Tensor,
    action: Tensor,
    proprio: Tensor | None,
    *,
    rollout_steps: int,
    cut: int,
    window: int,
    stop_gradient: bool,
) -> Tensor:
    """Teacher forcing plus, for ``rollout_steps`` k above one, imagined steps: L_1 / (k + 1) + sum_j L_j / k.

    The weights are the reference's, unequal as they are (TR:888, VW:508); one step alone has weight 1/2. The
    proprio target of teacher forcing is not detached there and is not here.

    Args:
        predictor: the model.
        visual: (B, T, P, D) latents of true frames.
        action: (B, T - 1, A) normalised.
        proprio: (B, T, Q) normalised, or None.
        rollout_steps: k.
        cut: last true frame before imagining; the imagined steps predict frames cut + 2 on.
        window: frames the predictor sees in imagined steps.
        stop_gradient: detach all context before every imagined step, so that only its own forward pass learns.

    Returns:
        The loss, a scalar.
    """
    felt = None if proprio is None else predictor.embed_proprio(proprio)
    forced = predictor(visual[:, :-1], action, None if felt is None else felt[:, :-1])
    loss = feature_distance(forced, visual[:, 1:], None if felt is None else felt[:, 1:]) / (rollout_steps + 1)
    if rollout_steps > 1:
        loss = loss + rollout_loss(predictor, visual, action, felt, forced, rollout_steps, cut, window, stop_gradient)
    return loss


def rollout_loss(
    predictor: Predictor,
    visual: Tensor,
    action: Tensor,
    felt: Tensor | None,
    forced: Prediction,
    rollout_steps: int,
    cut: int,
    window: int,
    stop_gradient: bool,
) -> Tensor:
    """The imagined steps of :func:`world_model_loss`, weighted; ``felt`` (B, T, P, E) is embedded."""
    seen = [*visual[:, : cut + 1].unbind(1), forced.visual[:, cut]]
    sensed = None if felt is None or forced.proprio is None else [*felt[:, : cut + 1].unbind(1), forced.proprio[:, cut]]
    total = visual.new_zeros(())
    for step in range(cut + 1, cut + rollout_steps):
        first = max(0, len(seen) - window)
        context = torch.stack(seen[first:], dim=1)
        touch = None if sensed is None else torch.stack(sensed[first:], dim=1)
        if stop_gradient:
            context, touch = context.detach(), None if touch is None else touch.detach()
        out = predictor(context, action[:, first : step + 1], touch, last_only=True)
        target = None if felt is None else felt[:, step + 1 : step + 2].detach()
        total = total + feature_distance(out, visual[:, step + 1 : step + 2], target) / rollout_steps
        seen.append(out.visual[:, -1])
        if sensed is not None and out.proprio is not None:
            sensed.append(out.proprio[:, -1])
    return total
