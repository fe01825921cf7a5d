"""EB-JEPA's latent dynamics: a recurrent cell whose hidden state is the latent, and an inverse dynamics head.

Facts: arXiv 2602.03604 and eb_jepa ``architectures.py:412-483`` (commit 966e61e). The encoder is
:mod:`jepawm_agents.world_models.encoders.impala`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jepawm_agents.errors import WeightsError
from jepawm_agents.world_models.base import Prediction, Predictor
from jepawm_agents.world_models.encoders.impala import ImpalaEncoder
from jepawm_agents.world_models.reference import load_strictly, shape_of


class GRUPredictor(Predictor):
    """One GRU step a model step: the action is the input, the latent the hidden state; LayerNorm on the result.

    The LayerNorm is the encoder's own, so that predictions lie where encodings do; :meth:`attach` makes it known
    and it stays a part of the encoder alone. Only the last frame matters, whatever the window.

    With ``substeps`` the cell takes the primitive actions of a model step one after the other, as it would with a
    frame each: what happens at a wall within five steps is not one step of a GRU. Published: 1, with a frame skip of 1.

    Args:
        grid_size: 1; the latent is a single token (P = 1).
        latent_dim: channels D.
        action_dim: A.
        proprio_dim: ignored, there is no proprioception.
        substeps: equal parts of the action, each a step of the cell.

    Raises:
        ValueError: for a grid of tokens, or an action that cannot be divided so.
    """

    def __init__(
        self, *, grid_size: int = 1, latent_dim: int, action_dim: int, proprio_dim: int = 0, substeps: int = 1
    ):
        super().__init__()
        if grid_size != 1:
            raise ValueError(f"The GRU predictor works on one token, but the encoder gives a grid of {grid_size}².")
        if substeps < 1 or action_dim % substeps:
            raise ValueError(f"substeps={substeps} is not possible: {action_dim} action numbers are to be divided.")
        self.substeps = substeps
        self.grid_size, self.latent_dim, self.proprio_encoder = 1, latent_dim, None
        self.gru = nn.GRUCell(action_dim // substeps, latent_dim)
        self._shared: tuple[nn.LayerNorm, ...] = ()  # in a tuple: not a part of this module

    def attach(self, encoder: nn.Module) -> None:
        """Use the last LayerNorm of an :class:`.encoders.impala.ImpalaEncoder` on predictions.

        Raises:
            ValueError: if the encoder has none.
        """
        norm = getattr(encoder, "final_ln", None)
        if not isinstance(norm, nn.LayerNorm):
            raise ValueError(f"The GRU predictor shares the encoder's LayerNorm; {type(encoder).__name__} has none.")
        self._shared = (norm,)

    def condition(self, action: Tensor) -> Tensor:
        """The action as it is, (B, T, A)."""
        return action

    def advance(
        self, visual: Tensor, condition: Tensor, proprio: Tensor | None, *, last_only: bool = False
    ) -> Prediction:
        """Predict the next latent at every position; shapes in :meth:`Predictor.advance` with P = 1.

        Raises:
            ValueError: if the encoder's LayerNorm is not known.
        """
        if not self._shared:
            raise ValueError("This predictor needs its encoder's LayerNorm; call attach(encoder) first.")
        if last_only:
            visual, condition = visual[:, -1:], condition[:, -1:]
        state = visual.flatten(0, 2)
        for action in condition.flatten(0, 1).chunk(self.substeps, dim=-1):
            state = self._shared[0](self.gru(action, state))
        return Prediction(state.reshape(visual.shape), None)


class InverseDynamics(nn.Module):
    """Tells the action from the latents before and after it; trained along, not used for planning.

    Args:
        latent_dim: channels D.
        action_dim: A.
        width: of the two hidden layers.
    """

    def __init__(self, *, latent_dim: int, action_dim: int, width: int = 256):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(2 * latent_dim, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, action_dim),
        )
        for part in self.model:
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Latents (..., D) twice to the action (..., A)."""
        return self.model(torch.cat([before, after], dim=-1))


class EBJEPA(NamedTuple):
    """The three parts that EB-JEPA trains together."""

    encoder: ImpalaEncoder
    predictor: GRUPredictor
    inverse_dynamics: InverseDynamics


def eb_jepa_from_reference(state_dict: Mapping[str, Tensor], *, image_size: int = 65) -> EBJEPA:
    """Build EB-JEPA from weights in the reference's key names.

    Args:
        state_dict: tensors named ``encoder.*``, ``gru.*`` and ``idm.*``.
        image_size: height and width of the pictures; not stored in the file.

    Returns:
        The parts in evaluation mode, the LayerNorm shared.

    Raises:
        WeightsError: if keys are missing or left over, or the sizes do not fit the pictures.
    """
    parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "gru": {}, "idm": {}}
    for key, value in state_dict.items():
        part, _, name = key.partition(".")
        if part not in parts:
            raise WeightsError(f"Key {key!r} is none of EB-JEPA's; they begin with 'encoder.', 'gru.' or 'idm.'.")
        # The cell of the recurrent network's only layer.
        parts[part]["gru." + name.removesuffix("_l0") if part == "gru" else name] = value
    stacks = len({match.group(1) for key in parts["encoder"] if (match := re.match(r"stack_blocks\.(\d+)\.", key))})
    latent_dim, _ = shape_of(parts["encoder"], "mlp.weight", 2)
    action_dim = shape_of(parts["gru"], "gru.weight_ih", 2)[1]
    found = EBJEPA(
        ImpalaEncoder(
            image_size=image_size,
            channels=[shape_of(parts["encoder"], f"stack_blocks.{i}.initial_conv.bias", 1)[0] for i in range(stacks)],
            latent_dim=latent_dim,
        ),
        GRUPredictor(latent_dim=latent_dim, action_dim=action_dim),
        InverseDynamics(
            latent_dim=latent_dim, action_dim=action_dim, width=shape_of(parts["idm"], "model.0.bias", 1)[0]
        ),
    )
    for module, tensors in zip(found, parts.values(), strict=True):
        load_strictly(module, tensors)
        module.eval()
    found.predictor.attach(found.encoder)
    return found
