"""Build a predictor from a dictionary of tensors in the key names of jepa-wms.

The architecture is read off the shapes; everything must fit, or the error names what does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from jepawm_agents.errors import WeightsError
from jepawm_agents.world_models.action_token import ActionTokenPredictor
from jepawm_agents.world_models.adaln import AdaLNPredictor
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.dino_wm import DinoWMPredictor
from jepawm_agents.world_models.feature_rope import FeatureRopePredictor

Tensors = Mapping[str, Tensor]

# A mask that DINO-WM registers as a buffer in every layer: a function of the shapes, not a weight. And an encoder
# of camera poses that V-JEPA-2-AC files carry and nothing uses (jepa-wms ``app/vjepa_wm/utils.py:403-435``).
_NO_WEIGHTS = re.compile(r"^transformer\.layers\.\d+\.0\.bias$|^extrinsics_encoder\.")


def from_reference(
    state_dict: Tensors, *, grid_size: int, num_heads: int, normalize_latents: bool = False
) -> Predictor:
    """Build the predictor whose weights these are.

    Args:
        state_dict: tensors named ``predictor.*``, ``action_encoder.*`` and ``proprio_encoder.*``; a
            ``module.`` prefix (left by distributed training) is removed.
        grid_size: rows and columns of the token grid; not stored in the file.
        num_heads: attention heads; not stored in the file.
        normalize_latents: whether predictions are layer-normed (V-JEPA-2-AC).

    Returns:
        A predictor in evaluation mode with exactly these weights.

    Raises:
        WeightsError: if the family is unknown, keys are missing or left over, or the heads do not divide a width.
    """
    tensors = _bare(state_dict)
    family, sizes = _architecture(tensors, grid_size, num_heads)
    predictor = family(grid_size=grid_size, heads=num_heads, normalize_latents=normalize_latents, **sizes)
    load_strictly(predictor, tensors)
    return predictor.eval().requires_grad_(False)


def load_strictly(module: nn.Module, tensors: Tensors) -> None:
    """Load a state dictionary, naming every key that is missing, left over or of another shape.

    Raises:
        WeightsError: if anything does not fit.
    """
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    problems = [f"missing {key}" for key in expected if key not in tensors]
    problems += [f"unknown {key}" for key in tensors if key not in expected]
    problems += [
        f"{key} has shape {tuple(tensors[key].shape)} instead of {shape}"
        for key, shape in expected.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    if problems:
        shown = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise WeightsError(f"The weights do not fit the model: {shown}.")
    module.load_state_dict(dict(tensors), strict=True)


def _bare(state_dict: Tensors) -> Tensors:
    """The weights under one name each, whatever module or wrapper they came from."""
    tensors: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        name = ".".join(part for part in key.split(".") if part != "module").removeprefix("predictor.")
        name = re.sub(r"^state_encoder\.", "proprio_encoder.", name)  # the name in the first V-JEPA-2-AC files
        if _NO_WEIGHTS.match(name):
            continue
        if name in tensors:
            raise WeightsError(f"The weights hold {name!r} twice, once as {key!r}; keep one of them.")
        tensors[name] = value
    return tensors


def _architecture(tensors: Tensors, grid_size: int, heads: int) -> tuple[Callable[..., Predictor], dict[str, Any]]:
    """Family and sizes, from what only that family has."""
    if any(key.startswith("transformer.") for key in tensors):
        return DinoWMPredictor, _dino_wm(tensors, grid_size, heads)
    if not any(key.startswith("predictor_blocks.") for key in tensors):
        raise WeightsError(
            "These weights are none of the known predictors: they have neither 'predictor_blocks.*' (JEPA-WM, "
            f"V-JEPA-2-AC) nor 'transformer.*' (DINO-WM), but {', '.join(list(tensors)[:4]) or 'nothing'}."
        )
    sizes = _blocks(tensors, heads)
    if any("adaLN_modulation" in key for key in tensors):
        return AdaLNPredictor, sizes | _linear_action(tensors) | _embedded_proprio(tensors)
    if "action_encoder.patch_embed.weight" in tensors:
        return FeatureRopePredictor, sizes | _embedded_action(tensors) | _embedded_proprio(tensors)
    return ActionTokenPredictor, sizes | _linear_action(tensors) | _proprio_token(tensors)


def _blocks(tensors: Tensors, heads: int) -> dict[str, Any]:
    """Sizes of the families made of ``predictor_blocks``."""
    width, latent_dim = shape_of(tensors, "predictor_embed.weight", 2)
    (dim,) = shape_of(tensors, "predictor_norm.weight", 1)
    if heads < 1 or dim % heads:
        raise WeightsError(f"num_heads={heads} does not divide the {dim} channels of these weights; name another.")
    return {
        "width": width,
        "latent_dim": latent_dim,
        "depth": _count_layers(tensors, r"predictor_blocks\.(\d+)\."),
        "mlp_ratio": shape_of(tensors, "predictor_blocks.0.mlp.fc1.weight", 2)[0] / dim,
    }


def _dino_wm(tensors: Tensors, grid_size: int, heads: int) -> dict[str, Any]:
    _, positions, dim = shape_of(tensors, "pos_embedding", 3)
    inner = shape_of(tensors, "transformer.layers.0.0.to_qkv.weight", 2)[0] // 3
    if heads < 1 or inner % heads:
        raise WeightsError(f"num_heads={heads} does not divide the {inner} channels of these weights; name another.")
    if grid_size < 1 or positions % grid_size**2:
        raise WeightsError(f"grid_size={grid_size} does not divide the {positions} positions of these weights.")
    sizes = _embedded_action(tensors) | _embedded_proprio(tensors)
    return sizes | {
        "latent_dim": dim - sizes["action_width"] - sizes.get("proprio_width", 0),
        "depth": _count_layers(tensors, r"transformer\.layers\.(\d+)\."),
        "head_dim": inner // heads,
        "mlp_dim": shape_of(tensors, "transformer.layers.0.1.net.1.weight", 2)[0],
        "frames": positions // grid_size**2,
    }


def _linear_action(tensors: Tensors) -> dict[str, Any]:
    return {"action_dim": shape_of(tensors, "action_encoder.weight", 2)[1]}


def _embedded_action(tensors: Tensors) -> dict[str, Any]:
    width, size, _ = shape_of(tensors, "action_encoder.patch_embed.weight", 3)
    return {"action_width": width, "action_dim": size}


def _embedded_proprio(tensors: Tensors) -> dict[str, Any]:
    if "proprio_encoder.patch_embed.weight" not in tensors:
        return {}
    width, size, _ = shape_of(tensors, "proprio_encoder.patch_embed.weight", 3)
    return {"proprio_width": width, "proprio_dim": size}


def _proprio_token(tensors: Tensors) -> dict[str, Any]:
    if "proprio_encoder.weight" not in tensors:
        return {}
    return {"proprio_token": True, "proprio_dim": shape_of(tensors, "proprio_encoder.weight", 2)[1]}


def _count_layers(tensors: Tensors, pattern: str) -> int:
    found = [int(match.group(1)) for key in tensors if (match := re.match(pattern, key))]
    return max(found, default=-1) + 1


def shape_of(tensors: Tensors, key: str, axes: int) -> tuple[int, ...]:
    """Shape of one tensor.

    Raises:
        WeightsError: if it is missing or has another number of axes.
    """
    if key not in tensors:
        raise WeightsError(f"The weights lack {key!r}, so the size of the model cannot be told.")
    shape = tuple(tensors[key].shape)
    if len(shape) != axes:
        raise WeightsError(f"{key!r} has shape {shape}; it should have {axes} axes.")
    return shape
