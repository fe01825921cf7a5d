"""From a card's description and the published files to a world model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jepawm_agents.checkpoints.encoder import LoadedEncoder, load_encoder
from jepawm_agents.checkpoints.fetch import Found, PublishedFile, find_or_fetch, sha256_of
from jepawm_agents.checkpoints.model_file import epoch_of, load_predictor
from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.base import PROPRIO_MODES, Predictor
from jepawm_agents.world_models.jepa import JEPAWorldModel, Normaliser
from jepawm_agents.world_models.weights import PREDICTORS, build

SETTINGS = ("checkpoint", "encoder", "predictor", "normaliser", "action_dim", "proprio_dim", "frameskip", "window")
"""The part of a variant that describes a published world model; all of it is needed."""


@dataclass(frozen=True)
class Published:
    """A published world model and what is known of its files."""

    model: JEPAWorldModel
    provenance: dict[str, Any]


def load_published(settings: Mapping[str, Any], weights: Path | None = None) -> Published:
    """Build the world model that a card describes and load its published weights.

    Args:
        settings: :data:`SETTINGS`, as under ``[variants.official]`` of the card.
        weights: a file to use instead of the published one. If then no encoder weights are to be had, the encoder
            is random, with a warning and a note in the provenance; otherwise that is an error.

    Raises:
        ConfigError: for settings that are missing, unknown or do not fit together.
        WeightsError: if a file cannot be had, is damaged, holds code, or belongs to another model.
    """
    description = _described(settings)
    normaliser = _normaliser(description)
    file = _checkpoint(description["checkpoint"])
    found = _given(weights) if weights is not None else find_or_fetch(file, flag="--weights PATH")
    encoder = load_encoder(description["encoder"], found.path, may_be_random=weights is not None)
    predictor = _load_predictor(description, encoder, found.path)
    model = JEPAWorldModel(
        encoder.encoder,
        predictor,
        normaliser,
        window=description["window"],
        config=buildable(description),
    )
    return Published(model.eval().requires_grad_(False), _provenance(found, encoder, model))


def build_fresh(settings: Mapping[str, Any]) -> JEPAWorldModel:
    """Build the world model that a card describes with fresh weights, but with the published constants.

    Raises:
        ConfigError: for settings that are missing, unknown or do not fit together.
    """
    description = _described(settings)
    model = build(buildable(description))
    model.normaliser.load_state_dict(_normaliser(description).state_dict())
    return model


def buildable(description: Mapping[str, Any]) -> dict[str, Any]:
    """The part that :func:`jepawm_agents.world_models.weights.build` makes a model of; the files are left out."""
    config = {key: value for key, value in description.items() if key not in ("checkpoint", "normaliser")}
    config["encoder"] = {key: value for key, value in config["encoder"].items() if key not in ("weights", "entry")}
    return config


def _described(settings: Mapping[str, Any]) -> dict[str, Any]:
    for key in settings:
        if key not in SETTINGS:
            raise ConfigError(unknown("setting of a published world model", key, SETTINGS))
    for key in SETTINGS:
        if key not in settings:
            raise ConfigError(f"The description of a published world model lacks {key!r}.")
    for key in ("action_dim", "proprio_dim", "frameskip", "window"):
        if not isinstance(settings[key], int) or settings[key] < 1:
            raise ConfigError(f"{key}={settings[key]!r} is not possible; it is a whole number from 1.")
    return dict(settings)


def _checkpoint(settings: Mapping[str, Any]) -> PublishedFile:
    known = ("file", "repo", "url", "sha256")
    for key in settings:
        if key not in known:
            raise ConfigError(unknown("setting of the checkpoint", key, known))
    if "file" not in settings:
        raise ConfigError("The description of a checkpoint lacks 'file', its name.")
    return PublishedFile(settings["file"], **{key: settings[key] for key in known[1:] if key in settings})


def _given(path: Path) -> Found:
    if not path.is_file():
        raise WeightsError(f"There is no weights file at {path}; check the path given with --weights.")
    return Found(path, sha256_of(path), "--weights")


def _load_predictor(description: Mapping[str, Any], encoder: LoadedEncoder, path: Path) -> Predictor:
    """The predictor of the file, and how it is to be used."""
    settings = dict(description["predictor"])
    mode = settings.pop("proprio_mode", None)
    if mode not in (None, *PROPRIO_MODES):
        raise ConfigError(unknown("predictor.proprio_mode", str(mode), PROPRIO_MODES))
    expected = _expected(settings, description, encoder)
    predictor = load_predictor(path, expected, num_heads=settings["heads"])
    if mode is not None:
        predictor.proprio_mode = mode
    return predictor


def _expected(settings: dict[str, Any], description: Mapping[str, Any], encoder: LoadedEncoder) -> Predictor:
    """The predictor that the card describes, without memory for its weights."""
    sizes = dict(settings)
    family = sizes.pop("family", None)
    if family not in PREDICTORS:
        raise ConfigError(unknown("predictor family", str(family), PREDICTORS))
    if "heads" not in sizes:
        raise ConfigError("The description of the predictor lacks 'heads', which no file tells.")
    try:
        with torch.device("meta"):
            return PREDICTORS[family](
                grid_size=encoder.encoder.grid_size,
                latent_dim=encoder.encoder.latent_dim,
                action_dim=description["action_dim"] * description["frameskip"],
                proprio_dim=description["proprio_dim"],
                **sizes,
            )
    except TypeError as problem:
        raise ConfigError(f"The predictor settings {sizes} do not fit family {family!r}: {problem}.") from None


def _normaliser(description: Mapping[str, Any]) -> Normaliser:
    """The published constants of actions and proprioception."""
    normaliser = Normaliser(description["action_dim"], description["proprio_dim"])
    normaliser.set(description["normaliser"])
    return normaliser


def _provenance(found: Found, encoder: LoadedEncoder, model: JEPAWorldModel) -> dict[str, Any]:
    notes: dict[str, Any] = {
        "weights": found.path.name,
        "weights_sha256": found.sha256,
        "weights_origin": found.origin,
        "epoch": epoch_of(found.path),
        "encoder": encoder.description,
        "encoder_sha256": encoder.sha256,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "precision": "float32",
        "torch": torch.__version__,
    }
    if encoder.random:
        notes["unranked"] = "The image encoder has random weights, so this is no result of the published model."
    return notes
