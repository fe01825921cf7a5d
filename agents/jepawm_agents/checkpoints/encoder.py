"""The frozen encoder of a published world model, with its weights wherever they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jepawm_agents.checkpoints.encoder_files import ENCODER_FILES, encoder_file
from jepawm_agents.checkpoints.fetch import NotAvailable, find_or_fetch, sha256_of
from jepawm_agents.checkpoints.unfilled import unfilled
from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.world_models.encoders.base import PatchEncoder
from jepawm_agents.world_models.encoders.files import read_file, read_published
from jepawm_agents.world_models.weights import build_encoder

LOG = logging.getLogger(__name__)
AUTO, RANDOM = "auto", "random"
CARRIED = "encoder"
"""Entry of a checkpoint that brings its encoder along; the published ones do not."""
_SEED = 0


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder, frozen, and where its weights are from."""

    encoder: PatchEncoder
    description: str
    """For the record of a run."""
    sha256: str | None
    """Of the file; None for random weights."""
    path: Path | None = None
    """The file."""
    entry: str | None = None
    """The model that was read of a file that holds several."""

    @property
    def random(self) -> bool:
        """Whether its weights are from nowhere."""
        return self.sha256 is None


def load_encoder(settings: Mapping[str, Any], checkpoint: Path | None, *, may_be_random: bool) -> LoadedEncoder:
    """Build the encoder and give it weights.

    Args:
        settings: ``family`` and sizes, and optionally ``weights``: a path, ``auto`` (the default: what the
            checkpoint brings along, else the published file from this machine or the network) or ``random``; and
            ``entry``, which model of a file that holds several.
        checkpoint: the world model's file; None where there is none yet.
        may_be_random: whether an encoder whose weights are nowhere to be had is made random, with a warning.

    Raises:
        ConfigError: for settings that do not exist, or a package that is not installed.
        WeightsError: if the weights cannot be had, or do not fit.
    """
    sizes = dict(settings)
    weights, entry = str(sizes.pop("weights", AUTO)), sizes.pop("entry", None)
    if weights == RANDOM:
        LOG.warning("The image encoder is RANDOM, as asked for; results say nothing about the published model.")
        return _random(sizes, "asked for")
    encoder = _patch_encoder(unfilled(lambda: build_encoder(sizes)))
    name = (str(sizes["family"]), str(sizes.get("size")))
    if weights != AUTO:
        return _named(encoder, Path(weights), name, entry)
    if checkpoint is not None and isinstance(read_file(checkpoint).get(CARRIED), Mapping):
        _load(encoder, checkpoint, CARRIED)
        return LoadedEncoder(
            encoder, f"entry {CARRIED!r} of the checkpoint", sha256_of(checkpoint), checkpoint, CARRIED
        )
    known = encoder_file(*name)
    try:
        found = find_or_fetch(known.file, flag="--set encoder.weights=PATH")
    except NotAvailable as problem:
        if not may_be_random:
            raise
        LOG.warning("WARNING: the image encoder is RANDOM; results say nothing about the published model. %s", problem)
        return _random(sizes, "no weights found")
    entry = entry or known.entry
    _load(encoder, found.path, entry)
    return LoadedEncoder(encoder, f"{found.path.name} ({found.origin})", found.sha256, found.path, entry)


def _named(encoder: PatchEncoder, path: Path, name: tuple[str, str], entry: str | None) -> LoadedEncoder:
    """From a file that the user named: a published one, or a bare dictionary of such weights."""
    if not path.is_file():
        raise WeightsError(
            f"encoder.weights={path} is no file. Name one, or say {AUTO} for the published one or {RANDOM} for none."
        )
    known = ENCODER_FILES.get(name)
    if entry is None and known is not None and known.entry in read_file(path):
        entry = known.entry
    _load(encoder, path, entry)
    return LoadedEncoder(encoder, path.name, sha256_of(path), path, entry)


def _load(encoder: PatchEncoder, path: Path, entry: str | None) -> None:
    try:
        encoder.load_published(read_published(path, key=entry))
    except WeightsError as problem:
        raise WeightsError(f"The image encoder cannot take its weights from {path}: {problem}") from None


def _random(sizes: Mapping[str, Any], why: str) -> LoadedEncoder:
    encoder = _patch_encoder(build_encoder(sizes))
    randomise(encoder.backbone, _SEED)
    return LoadedEncoder(encoder.eval().requires_grad_(False), f"random initialisation ({why})", None)


def _patch_encoder(encoder: Any) -> PatchEncoder:
    if not isinstance(encoder, PatchEncoder):
        raise ConfigError(f"There are no published weights of a {type(encoder).__name__}.")
    return encoder


def randomise(module: nn.Module, seed: int) -> None:
    """Fresh weights that depend on ``seed`` alone: tables normal with deviation 0.02, biases 0, the rest untouched."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.02, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
