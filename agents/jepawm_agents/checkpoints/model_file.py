"""The published world-model files: which of their entries are the model, and that these are whole.

Facts: jepa-wms ``app/vjepa_wm/train.py:699-725`` writes them, ``app/vjepa_wm/utils.py:358-450`` reads them (commit
6eafb14). Differs from the reference: nothing that does not fit is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jepawm_agents.errors import WeightsError
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.encoders.files import read_file
from jepawm_agents.world_models.reference import from_reference

# The embeddings are entries of their own where they lie outside the predictor. An entry of a file without that part
# is missing or None.
_ENTRIES = ("predictor", "action_encoder", "proprio_encoder")


def load_predictor(path: Path, expected: Predictor, *, num_heads: int) -> Predictor:
    """Load the predictor of a published file.

    Args:
        path: the file.
        expected: what the card describes; its weights are not used and may lie on the meta device.
        num_heads: attention heads, which no file tells.

    Returns:
        The predictor, frozen and in evaluation mode.

    Raises:
        WeightsError: if the file is damaged, or its model is not the one described.
    """
    try:
        found = from_reference(
            model_tensors(path),
            grid_size=expected.grid_size,
            num_heads=num_heads,
            normalize_latents=expected.normalize_latents,
        )
    except WeightsError as problem:
        raise WeightsError(f"{path}: {problem}") from None
    _compare(found, expected, path)
    _check_finite(found, path)
    return found


def epoch_of(path: Path) -> int | None:
    """Finished epochs of training, or None where the file does not say."""
    epoch = read_file(path).get("epoch")
    return epoch if isinstance(epoch, int) else None


def model_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of the predictor and its embeddings, as ``<entry>.<name>``.

    Raises:
        WeightsError: if the file has no predictor, or holds something else where tensors should be.
    """
    content = read_file(path)
    if not isinstance(content.get("predictor"), Mapping):
        raise WeightsError(
            f"{path} holds no predictor; a published world model has an entry 'predictor', but this file has "
            f"{', '.join(map(str, list(content)[:6])) or 'nothing'}."
        )
    tensors: dict[str, Tensor] = {}
    for entry in _ENTRIES:
        part: Any = content.get(entry) or {}
        if not isinstance(part, Mapping) or not all(isinstance(value, Tensor) for value in part.values()):
            raise WeightsError(f"{path}: entry {entry!r} is not a dictionary of tensors.")
        tensors |= {f"{entry}.{name}": value for name, value in part.items()}
    return tensors


def _compare(found: Predictor, expected: Predictor, path: Path) -> None:
    if type(found) is not type(expected):
        raise WeightsError(
            f"{path} holds a {type(found).__name__}, but the agent is made of a {type(expected).__name__}; it is the "
            "file of another agent."
        )
    ours = {name: tuple(value.shape) for name, value in expected.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in found.state_dict().items()}
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            raise WeightsError(
                f"{path} is the file of another agent: {name} has shape {theirs.get(name, 'none')}, where this one "
                f"has {ours.get(name, 'none')}."
            )


def _check_finite(predictor: Predictor, path: Path) -> None:
    for name, value in predictor.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise WeightsError(f"{path} is damaged: {name} holds values that are no numbers. Get it again.")
