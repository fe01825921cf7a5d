"""Building heads from plain descriptions, and their files: safetensors that say which encoder they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.heads.compact_image_decoder import CompactImageDecoder
from jepawm_agents.heads.compact_state_decoder import CompactStateDecoder
from jepawm_agents.heads.image_decoder import ImageDecoder
from jepawm_agents.heads.state_decoder import StateDecoder
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.notes import without_places
from jepawm_agents.world_models.reference import load_strictly

FORMAT = "jepawm-head/1"
HEADS: dict[str, dict[str, type[nn.Module]]] = {
    "image": {"compact": CompactImageDecoder, "transformer": ImageDecoder},
    "state": {"compact": CompactStateDecoder, "transformer": StateDecoder},
}
"""Classes by what a head tells, its target, and by family."""


class HeadFile(NamedTuple):
    """What a file of a head says of itself."""

    config: dict[str, Any]
    """``target`` and ``family`` (names in :data:`HEADS`), and sizes."""
    encoder_sha256: str
    """See :meth:`.frozen_encoder.FrozenEncoder.sha256`."""
    notes: dict[str, Any]
    """How it came about."""


def build_head(config: Mapping[str, Any]) -> Any:
    """Build a head with fresh weights.

    Args:
        config: ``target`` and ``family``, names in :data:`HEADS`, and the sizes of the class.

    Raises:
        ConfigError: for an unknown name or sizes that do not fit it.
    """
    sizes = dict(config)
    target, family = str(sizes.pop("target", None)), str(sizes.pop("family", None))
    if target not in HEADS:
        raise ConfigError(unknown("target of a head", target, HEADS))
    if family not in HEADS[target]:
        raise ConfigError(unknown(f"family of {target} heads", family, HEADS[target]))
    try:
        return HEADS[target][family](**sizes)
    except TypeError as problem:
        raise ConfigError(f"The settings {sizes} do not fit a {family} {target} head: {problem}.") from None


def save_head(head: nn.Module, path: Path, description: HeadFile) -> None:
    """Write weights and description to one file; of paths in the notes only names are kept."""
    said = json.dumps({"format": FORMAT, **description._replace(notes=without_places(description.notes))._asdict()})
    path.parent.mkdir(parents=True, exist_ok=True)
    # One entry only: safetensors writes several in random order, and equal heads should give equal files.
    tensors = {key: value.contiguous() for key, value in head.state_dict().items()}
    path.write_bytes(save(tensors, metadata={"head": said}))


def describe_head(path: Path) -> HeadFile:
    """What a file says of itself; its weights are not read.

    Raises:
        WeightsError: if it is missing, damaged or of another format.
    """
    return _read(path, weights=False)[0]


def read_head(path: Path, encoder_sha256: str) -> Any:
    """Read a head for an encoder, frozen and in evaluation mode.

    Raises:
        WeightsError: if the file is missing, damaged, of another format, does not fit its description, or was
            trained on the latents of another encoder.
    """
    description, tensors = _read(path, weights=True)
    if description.encoder_sha256 != encoder_sha256:
        raise WeightsError(
            f"{path} reads latents of encoder {description.encoder_sha256[:12]}, but this world model's encoder is "
            f"{encoder_sha256[:12]}; it would show nonsense. Train a head for this one: `jepawm-bench train --recipe "
            "compact/decoder --set model.weights=PATH`."
        )
    try:
        head = build_head(description.config)
        load_strictly(head, tensors)
    except (ConfigError, WeightsError) as problem:
        raise WeightsError(f"{path}: {problem}") from None
    return head.eval().requires_grad_(False)


def _read(path: Path, *, weights: bool) -> tuple[HeadFile, dict[str, Tensor]]:
    if not path.is_file():
        raise WeightsError(f"There is no head at {path}; train one with `jepawm-bench train --recipe compact/decoder`.")
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get("head", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()} if weights else {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as problem:
        raise WeightsError(f"{path} cannot be read as safetensors ({problem}); it may be truncated.") from None
    if not isinstance(said, dict) or said.pop("format", None) != FORMAT or said.keys() != set(HeadFile._fields):
        raise WeightsError(f"{path} is not a head of format {FORMAT}.")
    return HeadFile(**said), tensors
