"""What encoders and predictors are trained on.

The encoder's four terms are those of EB-JEPA (arXiv 2602.03604), after VICReg (arXiv 2105.04906). The
predictor's are those of JEPA-WM (jepa-wms ``video_wm.py:372-701``, commit 6eafb14). The loss of EB-JEPA as a
whole, which trains both together, is :func:`eb_jepa_loss` (eb_jepa ``jepa.py:159-197``, ``losses.py``, commit
966e61e).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.training.distances import Distance
from jepawm_agents.world_models.base import Prediction, Predictor
from jepawm_agents.world_models.eb_jepa import GRUPredictor, InverseDynamics

STD_FLOOR = 1e-4
ORDER_WEIGHTS = ("published", "equal")


def variance(z: Tensor) -> Tensor:
    """Hinge that keeps the deviation of every dimension of (B, F) above one."""
    return F.relu(1.0 - torch.sqrt(z.var(dim=0) + STD_FLOOR)).mean()


def covariance(z: Tensor) -> Tensor:
    """Mean squared covariance between different dimensions of (B, F), a dimension."""
    centred = z - z.mean(dim=0)
    matrix = centred.T @ centred / (len(z) - 1)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / z.shape[1]


def feature_distance(
    prediction: Prediction, visual: Tensor, proprio: Tensor | None, distance: Distance = F.mse_loss
) -> Tensor:
    """Distance of the visual part plus, with equal weight and where it is predicted, of the proprio part."""
    loss = distance(prediction.visual, visual)
    if proprio is None or prediction.proprio is None:
        return loss
    return loss + distance(prediction.proprio, proprio)


def world_model_loss(
    predictor: Predictor,
    visual: Tensor,
    action: Tensor,
    proprio: Tensor | None,
    *,
    rollout_steps: int,
    cut: int | Sequence[int],
    window: int,
    stop_gradient: bool,
    distance: Distance = F.mse_loss,
    true_proprio: bool = False,
    proprio_loss: bool = True,
    fixed_proprio: bool = False,
    order_weights: str = "published",
) -> Tensor:
    """Teacher forcing plus, for ``rollout_steps`` k above one, imagined steps: L_1 / (k + 1) + sum_j L_j / k.

    These weights are the reference's, unequal as they are (TR:888, VW:508); one step alone has weight 1/2. With
    ``order_weights="equal"`` every order has weight 1 / k. The proprio target of teacher forcing is not detached in
    the reference and is not here.

    Args:
        predictor: the model.
        visual: (B, T, P, D) latents of true frames.
        action: (B, T - 1, A) normalised.
        proprio: (B, T, Q) normalised, or None.
        rollout_steps: k.
        cut: last true frame before imagining; the imagined steps predict frames cut + 2 on. Of several, the mean
            of their terms counts.
        window: frames the predictor sees in imagined steps.
        stop_gradient: detach all context before every imagined step, so that only its own forward pass learns.
        distance: of predictions from targets.
        true_proprio: imagined steps see recorded proprioception instead of imagined one, as V-JEPA-2-AC's do.
        proprio_loss: whether predicted proprioception is compared too.
        fixed_proprio: detach the proprio target of teacher forcing too. Attached, as published, the loss also falls
            when the trainable embedding shrinks what is hard to predict, such as velocities, out of itself.
        order_weights: ``published`` or ``equal``.

    Returns:
        The loss, a scalar.

    Raises:
        ValueError: if imagined proprioception is asked of a predictor that predicts none, or for unknown weights.
    """
    if order_weights not in ORDER_WEIGHTS:
        raise ConfigError(unknown("order_weights", order_weights, ORDER_WEIGHTS))
    felt = None if proprio is None else predictor.embed_proprio(proprio)
    forced = predictor(visual[:, :-1], action, None if felt is None else felt[:, :-1])
    target = None if felt is None or not proprio_loss else felt[:, 1:]
    if fixed_proprio and target is not None:
        target = target.detach()
    orders = rollout_steps + 1 if order_weights == "published" else rollout_steps
    loss = feature_distance(forced, visual[:, 1:], target, distance) / orders
    cuts = [cut] if isinstance(cut, int) else cut
    for place in cuts if rollout_steps > 1 else ():
        given = (predictor, visual, action, felt, forced, rollout_steps, place, window, stop_gradient)
        how = {"distance": distance, "true_proprio": true_proprio, "proprio_loss": proprio_loss}
        loss = loss + rollout_loss(*given, **how) / len(cuts)
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
    *,
    distance: Distance = F.mse_loss,
    true_proprio: bool = False,
    proprio_loss: bool = True,
) -> Tensor:
    """The imagined steps of :func:`world_model_loss`, weighted; ``felt`` (B, T, P, E) is embedded."""
    seen = [*visual[:, : cut + 1].unbind(1), forced.visual[:, cut]]
    sensed = None if felt is None else [*felt[:, : cut + 1].unbind(1)]
    if sensed is not None and felt is not None:
        sensed.append(felt[:, cut + 1] if true_proprio else _predicted(forced.proprio)[:, cut])
    total = visual.new_zeros(())
    for step in range(cut + 1, cut + rollout_steps):
        first = max(0, len(seen) - window)
        context = torch.stack(seen[first:], dim=1)
        touch = None if sensed is None else torch.stack(sensed[first:], dim=1)
        if stop_gradient:
            context, touch = context.detach(), None if touch is None else touch.detach()
        out = predictor(context, action[:, first : step + 1], touch, last_only=True)
        target = felt[:, step + 1 : step + 2].detach() if felt is not None and proprio_loss else None
        total = total + feature_distance(out, visual[:, step + 1 : step + 2], target, distance) / rollout_steps
        seen.append(out.visual[:, -1])
        if sensed is not None and felt is not None:
            sensed.append(felt[:, step + 1] if true_proprio else _predicted(out.proprio)[:, -1])
    return total


def _predicted(proprio: Tensor | None) -> Tensor:
    if proprio is None:
        raise ValueError("This predictor takes proprioception but predicts none; train it with true_proprio=True.")
    return proprio


@dataclass(frozen=True)
class EBJEPAWeights:
    """Weights of EB-JEPA's regularisers; the published Two Rooms values (``train.yaml``)."""

    variance: float = 16.0
    covariance: float = 8.0
    similarity: float = 12.0
    inverse_dynamics: float = 1.0


class EBJEPALoss(NamedTuple):
    """EB-JEPA's loss and what it is made of, scalars."""

    loss: Tensor
    """``prediction`` plus ``regulariser``."""
    prediction: Tensor
    """Mean over K autoregressive steps from frame 0 of the mean squared error."""
    regulariser: Tensor
    """The weighted terms."""
    terms: dict[str, Tensor]
    """The four terms without weights, under the names of :class:`EBJEPAWeights`."""


def eb_jepa_loss(
    latents: Tensor,
    actions: Tensor,
    predictor: GRUPredictor,
    inverse_dynamics: InverseDynamics,
    *,
    steps: int,
    weights: EBJEPAWeights | None = None,
) -> EBJEPALoss:
    """Predict K steps from the first latent and keep the latents from collapsing.

    Nothing is detached: the gradient flows into predictions and targets. All terms are means, as in the published
    code; its documentation sums over time.

    Args:
        latents: (B, T, D) of the frames of B windows.
        actions: (B, T, A); action t leads from frame t to frame t + 1. The last one is not used.
        predictor: the latent dynamics.
        inverse_dynamics: the head that tells the action from two latents.
        steps: K.
        weights: of the regularisers; the published ones by default.

    Raises:
        ValueError: if K is not within 1 and T - 1.
    """
    frames = latents.shape[1]
    if not 1 <= steps < frames:
        raise ValueError(f"steps={steps} is not possible with {frames} frames; choose 1 to {frames - 1}.")
    imagined, _ = predictor.rollout(latents[:, :1], None, actions[:, None, :steps])
    prediction = F.mse_loss(imagined[:, 0, 1:, 0], latents[:, 1 : steps + 1])
    pooled = latents.flatten(0, 1)
    terms = {
        "variance": variance(pooled),
        # covariance() is a sum a dimension; here it is the mean over all pairs of different ones (losses.py:84-111).
        "covariance": covariance(pooled) / (latents.shape[-1] - 1),
        "similarity": F.mse_loss(latents[:, 1:], latents[:, :-1]),
        "inverse_dynamics": F.mse_loss(inverse_dynamics(latents[:, :-1], latents[:, 1:]), actions[:, :-1]),
    }
    weights = weights or EBJEPAWeights()
    regulariser = torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
    return EBJEPALoss(prediction + regulariser, prediction, regulariser, terms)
