"""What differs between the transformer families when frames are worked on one by one: the two ends, and conditions."""

from __future__ import annotations

import copy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from jepawm_agents.world_models.action_token import ActionTokenPredictor
from jepawm_agents.world_models.adaln import AdaLNPredictor
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.dino_wm import DinoWMPredictor
from jepawm_agents.world_models.feature_rope import FeatureRopePredictor
from jepawm_agents.world_models.frame_layer import FrameLayer, HeadLayout, LayerParts, fold_norm
from jepawm_agents.world_models.rope import Table, rope_table
from jepawm_agents.world_models.transformer import Block

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Family(nn.Module):
    """A predictor taken apart for work frame by frame; weights are copied, the predictor stays as it is.

    Args:
        predictor: the one it is prepared from.
        parts: of its layers.
        heads: attention heads.
        multiple: what the channels of a head are filled up to.
        rotated: whether RoPE tells where tokens are.
        modulated: whether actions modulate every layer.
    """

    conditions = 0
    """Tokens of a frame besides its grid."""

    def __init__(
        self,
        predictor: Predictor,
        parts: list[LayerParts],
        heads: int,
        multiple: int,
        *,
        rotated: bool = True,
        modulated: bool = False,
    ):
        super().__init__()
        self.grid_size, self.normalise = predictor.grid_size, predictor.normalise
        self.layout = HeadLayout(parts[0].qkv.out_features // 3 // heads, multiple, rotated=rotated)
        self.layers = nn.ModuleList(FrameLayer(part, heads, self.layout, modulated=modulated) for part in parts)

    @property
    def frame_layers(self) -> list[FrameLayer]:
        """The layers, in order."""
        return cast("list[FrameLayer]", list(self.layers))

    def place(self, position: int, dtype: torch.dtype, device: torch.device) -> Table | Tensor:
        """What tells tokens their frame's place in the window: RoPE factors, or learned positions (S, dim)."""
        with torch.inference_mode(False):  # kept, and perhaps used for gradients later
            grid = self.grid_size
            rows = rope_table(position + 1, grid, grid, self.layout.size, conditions=self.conditions)
            size = grid**2 + self.conditions
            same, cross = self.layout.table((rows[0][-size:], rows[1][-size:]))
            return same.to(device, dtype), cross.to(device, dtype)

    def enter(self, visual: Tensor, condition: Tensor, proprio: Tensor | None, place: Table | Tensor) -> Tensor:
        """Tokens (B, S, dim) of one frame: (B, P, D), its condition (B, ...) and (B, P', E)."""
        raise NotImplementedError

    def modulation(self, condition: Tensor, layer: int) -> Tensor | None:
        """The condition of one layer, (B, 6, dim), where layers have their own."""
        return None

    def leave(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Latents (B, P, D) and embedded proprioception (B, P, E), or None, of the next frame."""
        raise NotImplementedError


class _FrameAdaLN(Family):
    def __init__(self, predictor: AdaLNPredictor, multiple: int):
        blocks = list(predictor.predictor_blocks)
        parts = [_block_parts(cast("Block", block)) for block in blocks]
        super().__init__(predictor, parts, predictor.heads, multiple, modulated=True)
        self.width, self.felt = predictor.width, predictor.proprio_encoder is not None
        self.embed, self.norm, self.proj = _ends(predictor)

    def enter(self, visual: Tensor, condition: Tensor, proprio: Tensor | None, place: Table | Tensor) -> Tensor:
        x = self.embed(visual)
        return torch.cat([x, proprio], dim=-1) if self.felt and proprio is not None else x

    def modulation(self, condition: Tensor, layer: int) -> Tensor:
        return condition[:, layer]

    def leave(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = self.norm(x)
        return self.normalise(self.proj(x[..., : self.width])), x[..., self.width :] if self.felt else None


class _FrameFeatureRope(Family):
    def __init__(self, predictor: FeatureRopePredictor, multiple: int):
        parts = [_block_parts(cast("Block", block)) for block in predictor.predictor_blocks]
        super().__init__(predictor, parts, predictor.heads, multiple)
        self.width, self.proprio_width = predictor.width, predictor.proprio_width
        self.embed, self.norm, self.proj = _ends(predictor)

    def enter(self, visual: Tensor, condition: Tensor, proprio: Tensor | None, place: Table | Tensor) -> Tensor:
        return _side_by_side(self.embed(visual), proprio, condition)

    def leave(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = self.norm(x)
        felt = x[..., self.width : self.width + self.proprio_width] if self.proprio_width else None
        return self.normalise(self.proj(x[..., : self.width])), felt


class _FrameActionToken(Family):
    def __init__(self, predictor: ActionTokenPredictor, multiple: int):
        parts = [_block_parts(cast("Block", block)) for block in predictor.predictor_blocks]
        super().__init__(predictor, parts, predictor.heads, multiple)
        own = predictor.proprio_encoder
        self.conditions = 1 if own is None else 2
        self.proprio_encoder = None if own is None else _copy(cast("nn.Linear", own))
        self.embed, self.norm, self.proj = _ends(predictor)

    def enter(self, visual: Tensor, condition: Tensor, proprio: Tensor | None, place: Table | Tensor) -> Tensor:
        felt = [] if self.proprio_encoder is None else [self.proprio_encoder(proprio)]
        return torch.cat([condition[:, None], *felt, self.embed(visual)], dim=1)

    def leave(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.normalise(self.proj(self.norm(x[:, self.conditions :]))), None


class _FrameDinoWM(Family):
    def __init__(self, predictor: DinoWMPredictor, multiple: int):
        layers = [cast("nn.ModuleList", layer) for layer in predictor.transformer.layers]
        heads = cast("int", layers[0][0].heads)
        super().__init__(predictor, [_dino_parts(layer) for layer in layers], heads, multiple, rotated=False)
        self.latent_dim, self.proprio_width = predictor.latent_dim, predictor.proprio_width
        self.norm = _copy(predictor.transformer.norm)
        self.frames, size = predictor.frames, predictor.grid_size**2
        self.register_buffer("positions", predictor.pos_embedding.detach()[0].unflatten(0, (-1, size)).clone())

    positions: Tensor

    def place(self, position: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        if position >= self.frames:
            raise ValueError(
                f"This DINO-WM predictor has {self.frames} frame positions, but the window has {position + 1}."
            )
        return self.positions[position]

    def enter(self, visual: Tensor, condition: Tensor, proprio: Tensor | None, place: Table | Tensor) -> Tensor:
        return _side_by_side(visual, proprio, condition) + cast("Tensor", place)

    def leave(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = self.norm(x)
        felt = x[..., self.latent_dim : self.latent_dim + self.proprio_width] if self.proprio_width else None
        return self.normalise(x[..., : self.latent_dim]), felt


def frame_condition(predictor: Predictor, action: Tensor) -> Tensor:
    """Conditions (B, T, ...) of actions (B, T, A), in float32; for AdaLN with the LayerNorms' factors in them."""
    condition = predictor.condition(action)
    if not isinstance(predictor, AdaLNPredictor):
        return condition
    blocks = [cast("Block", block) for block in predictor.predictor_blocks]
    folded = [fold_norm(condition[:, :, layer], (block.norm1, block.norm2)) for layer, block in enumerate(blocks)]
    return torch.stack(folded, dim=2)


def take_apart(predictor: Predictor, multiple: int) -> Family | None:
    """The predictor as a family of this file, or None if it is no transformer.

    Args:
        predictor: of any family.
        multiple: what the channels of a head are filled up to.
    """
    match predictor:
        case AdaLNPredictor():
            return _FrameAdaLN(predictor, multiple)
        case FeatureRopePredictor():
            return _FrameFeatureRope(predictor, multiple)
        case ActionTokenPredictor():
            return _FrameActionToken(predictor, multiple)
        case DinoWMPredictor():
            return _FrameDinoWM(predictor, multiple)
        case _:
            return None


def _side_by_side(visual: Tensor, proprio: Tensor | None, condition: Tensor) -> Tensor:
    acted = condition[:, None].expand(-1, visual.shape[1], -1)
    return torch.cat([part for part in (visual, proprio, acted) if part is not None], dim=-1)


def _block_parts(block: Block) -> LayerParts:
    return LayerParts(block.norm1, block.attn.qkv, block.attn.proj, block.norm2, block.mlp.fc1, block.mlp.fc2)


def _dino_parts(layer: nn.ModuleList) -> LayerParts:
    attention, net = layer[0], cast("nn.Sequential", layer[1].net)
    found = [attention.norm, attention.to_qkv, cast("nn.Sequential", attention.to_out)[0], net[0], net[1], net[4]]
    return LayerParts(*cast("list", found))


def _ends(
    predictor: AdaLNPredictor | FeatureRopePredictor | ActionTokenPredictor,
) -> tuple[nn.Linear, nn.LayerNorm, nn.Linear]:
    return _copy(predictor.predictor_embed), _copy(predictor.predictor_norm), _copy(predictor.predictor_proj)


def _copy(module: AnyModule) -> AnyModule:
    """Its own weights, so that they can have another precision."""
    return copy.deepcopy(module).requires_grad_(False)
