"""Building world models from plain descriptions, and their files: safetensors with the description inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.action_token import ActionTokenPredictor
from jepawm_agents.world_models.adaln import AdaLNPredictor
from jepawm_agents.world_models.base import PROPRIO_MODES, Predictor
from jepawm_agents.world_models.dino_wm import DinoWMPredictor
from jepawm_agents.world_models.eb_jepa import GRUPredictor
from jepawm_agents.world_models.encoders.base import Encoder
from jepawm_agents.world_models.encoders.registry import ENCODERS
from jepawm_agents.world_models.feature_rope import FeatureRopePredictor
from jepawm_agents.world_models.gated import GatedPredictor
from jepawm_agents.world_models.jepa import JEPAWorldModel, Normaliser
from jepawm_agents.world_models.notes import without_places
from jepawm_agents.world_models.reference import load_strictly

FORMAT = "jepawm-world-model/1"
ENCODER = "encoder."
"""How the names of the encoder's weights begin."""
PREDICTORS: dict[str, type[Predictor]] = {
    "adaln": AdaLNPredictor,
    "dino_wm": DinoWMPredictor,
    "action_token": ActionTokenPredictor,
    "feature_rope": FeatureRopePredictor,
    "gru": GRUPredictor,
    "gated": GatedPredictor,
}


def build(config: Mapping[str, Any], encoder: Encoder | None = None) -> JEPAWorldModel:
    """Build a world model with fresh weights.

    Args:
        config: ``encoder`` and ``predictor`` (each a ``family`` and its sizes; the predictor also its
            ``proprio_mode`` if not the family's own), ``action_dim`` (primitive), ``proprio_dim``, ``frameskip``,
            ``window``.
        encoder: one that is there already, instead of a fresh one.

    Raises:
        ConfigError: for an unknown family or sizes that do not fit it.
    """
    if encoder is None:
        encoder = cast("Encoder", build_encoder(config["encoder"]))
    settings = dict(config["predictor"])
    mode = settings.pop("proprio_mode", None)
    predictor = _make(
        "predictor",
        PREDICTORS,
        settings,
        grid_size=encoder.grid_size,
        latent_dim=encoder.latent_dim,
        action_dim=config["action_dim"] * config["frameskip"],
        proprio_dim=config["proprio_dim"],
    )
    if mode is not None:
        if mode not in PROPRIO_MODES:
            raise ConfigError(unknown("proprio_mode", str(mode), PROPRIO_MODES))
        predictor.proprio_mode = mode
    return JEPAWorldModel(
        encoder,
        predictor,
        Normaliser(config["action_dim"], config["proprio_dim"]),
        window=config["window"],
        config=config,
    )


def build_encoder(config: Mapping[str, Any]) -> Any:
    """Build an :class:`.encoders.base.Encoder` with fresh weights from its ``family`` and sizes.

    Raises:
        ConfigError: for an unknown family, sizes that do not fit it, or a package that is not installed.
    """
    return _make("encoder", ENCODERS, config)


def save_world_model(model: JEPAWorldModel, path: Path, *, notes: Mapping[str, Any] | None = None) -> None:
    """Write weights, constants and description to one file; ``notes`` say how they came about.

    A published encoder is not part of it: its place is taken by its name and hash
    (:mod:`..checkpoints.by_reference`). Of paths in the notes only names are kept.
    """
    description = {"format": FORMAT, "config": model.config, "notes": without_places(notes or {})}
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    if model.encoder_source:
        description["encoder"] = {key: model.encoder_source[key] for key in ("file", "sha256", "entry")}
        tensors = {key: value for key, value in tensors.items() if not key.startswith(ENCODER)}
    path.parent.mkdir(parents=True, exist_ok=True)
    # One entry only: safetensors writes several in random order, and equal models should give equal files.
    path.write_bytes(save(tensors, metadata={"world_model": json.dumps(description)}))


def load_world_model(path: Path, encoder_weights: str | None = None) -> JEPAWorldModel:
    """Read a world model.

    Args:
        path: of its file.
        encoder_weights: the file of its encoder, for a model that does not hold it; looked for when None.

    Raises:
        WeightsError: if the file is missing, damaged, of another format, or does not fit its description.
    """
    if not path.is_file():
        raise WeightsError(
            f"There is no weights file at {path}. Shipped weights come with the package; train others with "
            "`jepawm-bench train` and name them with --weights."
        )
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get("world_model", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a mapping
    except (SafetensorError, OSError, ValueError) as problem:
        raise WeightsError(f"{path} cannot be read as safetensors ({problem}); it may be truncated.") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise WeightsError(f"{path} is not a world model of format {FORMAT}.")
    try:
        model = _described(description, encoder_weights)
    except (KeyError, ValueError, TypeError) as problem:
        raise WeightsError(f"{path} holds a description of a model that cannot be built: {problem}") from None
    if model.encoder_source:
        tensors |= {ENCODER + key: value for key, value in model.encoder.state_dict().items()}
    try:
        load_strictly(model, tensors)
    except WeightsError as problem:
        raise WeightsError(f"{path}: {problem}") from None
    return model.eval().requires_grad_(False)


def _described(description: Mapping[str, Any], encoder_weights: str | None) -> JEPAWorldModel:
    """The model of a description, fresh but for an encoder that lies elsewhere."""
    source = description.get("encoder")
    if source is None:
        return build(description["config"])
    from jepawm_agents.checkpoints.by_reference import encoder_from  # needs this module to build encoders

    loaded = encoder_from(source, description["config"]["encoder"], encoder_weights)
    model = build(description["config"], loaded.encoder)
    model.encoder_source = source
    return model


def world_model_notes(path: Path) -> dict[str, Any]:
    """What a world model's file says of how it came about: ``recipe``, ``data_sha256``, ``validation``.

    Raises:
        WeightsError: if the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("world_model", "{}")).get("notes", {})
    except (SafetensorError, OSError, ValueError) as problem:
        raise WeightsError(f"{path} cannot be read as safetensors ({problem}); it may be truncated.") from None


def sha256(path: Path) -> str:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _make(kind: str, table: Mapping[str, Any], config: Mapping[str, Any], **sizes: Any) -> Any:
    settings = dict(config)
    family = settings.pop("family", None)
    if family not in table:
        raise ConfigError(unknown(f"{kind} family", str(family), table))
    try:
        return table[family](**settings, **sizes)
    except TypeError as problem:
        raise ConfigError(f"The {kind} settings {settings} do not fit family {family!r}: {problem}.") from None
