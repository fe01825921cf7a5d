"""EB-JEPA's parts trained together: encoder, recurrent predictor and inverse dynamics, a position probe beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jepawm_agents.heads.layout import LayoutHead
from jepawm_agents.heads.position_probe import PositionProbe
from jepawm_agents.training.alarms import encoder_alarms, imagined_alarms, sound, spread
from jepawm_agents.training.encoder import encode_all
from jepawm_agents.training.losses import EBJEPAWeights, eb_jepa_loss
from jepawm_agents.training.two_rooms import Batch
from jepawm_agents.world_models.eb_jepa import GRUPredictor, InverseDynamics
from jepawm_agents.world_models.encoders.impala import ImpalaEncoder


class EndToEndTraining(nn.Module):
    """A model without a single frozen part, and its loss.

    The probe sees detached latents, so it shares the model's optimizer, whose updates are made number by number, and
    changes nothing in the model. Differs from the reference: biases and norms are not decayed, and in mixed precision
    only the encoder, which does 95 % of the work, runs in bfloat16; predictions and covariances stay in float32.

    Args:
        encoder: pictures to one token.
        predictor: latent dynamics, attached to that encoder.
        batch_of_step: the windows of a training step.
        held_out: windows that are not trained on.
        settings: table ``train`` of a recipe.
    """

    def __init__(
        self,
        encoder: ImpalaEncoder,
        predictor: GRUPredictor,
        batch_of_step: Callable[[int], Batch],
        held_out: Batch,
        settings: Mapping[str, Any],
    ):
        super().__init__()
        self.encoder, self.predictor = encoder.requires_grad_(True), predictor
        action_dim = held_out.actions.shape[-1]
        self.inverse_dynamics = InverseDynamics(
            latent_dim=encoder.latent_dim, action_dim=action_dim, width=settings["inverse_dynamics_width"]
        )
        self.probe = PositionProbe(latent_dim=encoder.latent_dim, width=settings["probe_width"])
        self.layout = LayoutHead(encoder.latent_dim) if settings["layout"] else None
        self.batch_of_step, self.batch_held_out, self.settings = batch_of_step, held_out, settings
        self.weights = EBJEPAWeights(**settings["regulariser"])

    @property
    def clipped(self) -> list[nn.Module]:
        """What is clipped on its own (eb_jepa ``main.py:334-341``): the shared LayerNorm counts in both parts."""
        return [self.encoder, nn.ModuleList([self.predictor, self.encoder.final_ln])]

    def loss_of_step(self, step: int) -> Tensor:
        """The loss of the model and of its probe on the windows of step k."""
        batch = self._to_device(self.batch_of_step(step))
        tokens = self.encoder(batch.pixels.flatten(0, 1))
        latents = tokens[:, 0].float().unflatten(0, batch.pixels.shape[:2])
        given = (latents, batch.actions, self.predictor, self.inverse_dynamics)
        with torch.autocast(latents.device.type, enabled=False):
            loss = eb_jepa_loss(*given, steps=self.settings["rollout_steps"], weights=self.weights).loss
            if self.layout is not None:
                loss = loss + self.settings["layout"] * self.layout.loss(latents[:, 0], batch.layouts)
            return loss + self.probe.loss(latents[:, 0], batch.positions[:, 0])  # frame 0 alone, main.py:349-352

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """What held-out windows say.

        The terms of the loss (``val_prediction``, ``val_variance``, ...); the error of latents imagined K steps ahead
        (``val_K``) beside repeating the present (``val_copy_K``) and the actions of other windows
        (``val_shuffled_K``); how far the probe is from the dot, root mean squared pixels, in encoded latents
        (``probe_px``) and imagined ones (``imagined_px_K``); how far the places of wall and door that are learned along
        are from the true ones (``layout_px``); the spread of the latents (``effective_rank``,
        ``smallest_std``) and the number of signs of collapse (``alarm``).
        """
        self.eval()
        batch, steps = self._to_device(self.batch_held_out), self.settings["rollout_steps"]
        latents = encode_all(self.encoder, batch.pixels.flatten(0, 1))[:, 0].unflatten(0, batch.pixels.shape[:2])
        found = eb_jepa_loss(latents, batch.actions, self.predictor, self.inverse_dynamics, steps=steps)
        imagined = self._imagine(latents, batch.actions)
        shuffled = self._imagine(latents, batch.actions.roll(1, dims=0))
        target = latents[:, steps]
        figures = {
            "val_prediction": found.prediction,
            **{f"val_{name}": value for name, value in found.terms.items()},
            "val_1": (imagined[:, 1] - latents[:, 1]).square().mean(),
            f"val_{steps}": (imagined[:, steps] - target).square().mean(),
            f"val_shuffled_{steps}": (shuffled[:, steps] - target).square().mean(),
            f"val_copy_{steps}": (latents[:, 0] - target).square().mean(),
            "probe_px": self._error(latents, batch.positions),
            f"imagined_px_{steps}": self._error(imagined[:, steps], batch.positions[:, steps]),
        }
        if self.layout is not None:
            figures["layout_px"] = (self.layout(latents[:, 0]) - batch.layouts).square().mean().sqrt()
        self.train()
        return {name: float(value) for name, value in figures.items()} | self._collapse(latents, imagined)

    def _collapse(self, latents: Tensor, imagined: Tensor) -> dict[str, float]:
        """Figures of spread, and the alarms."""
        found = spread(latents.flatten(0, 1))
        figures = {"effective_rank": found.rank, "smallest_std": float(found.std.min())}
        if self.settings["alarms"]:
            steps = imagined.shape[1]
            # The encoder first: where its latents are all alike, imagined ones are no worse.
            alarms = encoder_alarms(found)
            alarms += imagined_alarms(spread(imagined.flatten(0, 1)), spread(latents[:, :steps].flatten(0, 1)))
            figures["alarm"] = sound("eb_jepa", alarms)
        return figures

    def _imagine(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The predictor's rollout from the first latents (B, T, D), (B, K + 1, D)."""
        steps = self.settings["rollout_steps"]
        return self.predictor.rollout(latents[:, :1], None, actions[:, None, :steps])[0][:, 0, :, 0]

    def _error(self, latents: Tensor, positions: Tensor) -> Tensor:
        """Root of the mean squared distance between read and true positions, pixels."""
        return (self.probe(latents) - positions).square().sum(dim=-1).mean().sqrt()

    def _to_device(self, batch: Batch) -> Batch:
        device = self.encoder.mean.device
        return batch if device.type == "cpu" else Batch(*(part.to(device, non_blocking=True) for part in batch))
