"""Build a predictor from a dictionary of tensors in the key names of jepa-wms.

The architecture is read off the shapes; everything must fit, or the error names what does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from jepawm_agents.errors import WeightsError
from jepawm_agents.world_models.adaln import AdaLNPredictor
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.dino_wm import DinoWMPredictor

# A mask that DINO-WM registers as a buffer in every layer; a function of the shapes, not a weight.
_MASK_BUFFER = re.compile(r"^transformer\.layers\.\d+\.0\.bias$")


def from_reference(
    state_dict: Mapping[str, Tensor], *, grid_size: int, num_heads: int, normalize_latents: bool = False
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
        WeightsError: if the family is unknown, or keys are missing or left over.
    """
    tensors = {_bare_name(key): value for key, value in state_dict.items()}
    tensors = {key: value for key, value in tensors.items() if not _MASK_BUFFER.match(key)}
    if normalize_latents or not any("adaLN_modulation" in key or key.startswith("transformer.") for key in tensors):
        raise WeightsError(
            "These weights are neither an AdaLN (JEPA-WM) nor a DINO-WM predictor; other families cannot be loaded yet."
        )
    build = _adaln if any("adaLN_modulation" in key for key in tensors) else _dino_wm
    predictor = build(tensors, grid_size, num_heads)
    load_strictly(predictor, tensors)
    return predictor.eval().requires_grad_(False)


def load_strictly(module, tensors: Mapping[str, Tensor]) -> None:
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


def _bare_name(key: str) -> str:
    key = key.replace("module.", "")
    return key.removeprefix("predictor.")


def _count_layers(tensors: Mapping[str, Tensor], pattern: str) -> int:
    found = [int(match.group(1)) for key in tensors if (match := re.match(pattern, key))]
    return max(found, default=-1) + 1


def _proprio_sizes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    weight = tensors.get("proprio_encoder.patch_embed.weight")
    return {} if weight is None else {"proprio_width": weight.shape[0], "proprio_dim": weight.shape[1]}


def _adaln(tensors: Mapping[str, Tensor], grid_size: int, num_heads: int) -> Predictor:
    width, latent_dim = _shape(tensors, "predictor_embed.weight")
    dim, action_dim = _shape(tensors, "action_encoder.weight")
    return AdaLNPredictor(
        grid_size=grid_size,
        latent_dim=latent_dim,
        action_dim=action_dim,
        width=width,
        depth=_count_layers(tensors, r"predictor_blocks\.(\d+)\."),
        heads=num_heads,
        mlp_ratio=_shape(tensors, "predictor_blocks.0.mlp.fc1.weight")[0] / dim,
        **_proprio_sizes(tensors),
    )


def _dino_wm(tensors: Mapping[str, Tensor], grid_size: int, num_heads: int) -> Predictor:
    positions, dim = _shape(tensors, "pos_embedding")[1:]
    action_width, action_dim = _shape(tensors, "action_encoder.patch_embed.weight")[:2]
    proprio = _proprio_sizes(tensors)
    return DinoWMPredictor(
        grid_size=grid_size,
        latent_dim=dim - action_width - proprio.get("proprio_width", 0),
        action_dim=action_dim,
        action_width=action_width,
        depth=_count_layers(tensors, r"transformer\.layers\.(\d+)\."),
        heads=num_heads,
        head_dim=_shape(tensors, "transformer.layers.0.0.to_qkv.weight")[0] // (3 * num_heads),
        mlp_dim=_shape(tensors, "transformer.layers.0.1.net.1.weight")[0],
        frames=positions // grid_size**2,
        **proprio,
    )


def _shape(tensors: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    if key not in tensors:
        raise WeightsError(f"The weights lack {key!r}, so the size of the model cannot be told.")
    return tuple(tensors[key].shape)
