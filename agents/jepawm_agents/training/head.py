"""Training a head: the frozen encoder of a world model, frames with their latents, one file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from jepawm_agents.checkpoints.encoder import AUTO, load_encoder
from jepawm_agents.errors import ConfigError
from jepawm_agents.heads.by_agent import world_model_of
from jepawm_agents.heads.files import HEADS, HeadFile, build_head, save_head
from jepawm_agents.heads.frozen_encoder import FrozenEncoder
from jepawm_agents.heads.perceptual import load_perceptual_distance
from jepawm_agents.suggest import unknown
from jepawm_agents.training.decoding import ImageTraining, StateTraining
from jepawm_agents.training.distributed import Ranks, choose_device, first_goes_first
from jepawm_agents.training.frames import Frames
from jepawm_agents.training.loggers import check_logs, make_logs
from jepawm_agents.training.loop import LoopSettings, Progress, run_loop
from jepawm_agents.training.made_with import made_with
from jepawm_agents.training.sources import check_data, open_data
from jepawm_agents.training.train_settings import check_parts
from jepawm_agents.world_models.weights import load_world_model, sha256, world_model_notes

NAMES = {"image": "decoder", "state": "state_decoder"}
"""Stage and file of a head by its target."""
_SOURCES = "model.agent, model.weights and encoder.family"


@dataclass(frozen=True)
class Source:
    """The encoder that a recipe names."""

    encoder: FrozenEncoder
    origin: dict[str, Any]
    """For the notes of the head's file."""
    normalisation: str
    """Of the colours that it sees."""
    data: dict[str, Any] = field(default_factory=dict)
    """Table ``data`` of the recipe that its world model was trained by."""


def train(plan: Mapping[str, Any], *, out: Path, resume: bool, progress: Progress) -> Path:
    """Train what a recipe of kind ``head`` describes; see :func:`jepawm_agents.training.run.main`.

    Returns:
        ``decoder.safetensors`` or ``state_decoder.safetensors`` in ``out``.
    """
    check(plan)
    device = choose_device(plan["train"]["device"])
    with first_goes_first():
        with torch.random.fork_rng(devices=[]):  # building a model draws weights, even where they are then loaded
            source = _source(plan)
        data = _data(plan["data"], source)
        store = open_data(data, out, progress)
    with closing(store):
        digest = source.encoder.sha256()
        source.encoder.encoder.to(device)
        frames = Frames(
            store,
            source.encoder,
            image_size=data["image_size"],
            validation_share=data["validation_share"],
            states=plan["head"]["target"] == "state",
            memory=data["memory"],
            device=device,
        )
        config, head = _head(plan, source, frames)
        name = NAMES[config["target"]]
        training = _training(config["target"], head.to(device), frames, plan["train"])
        figures = run_loop(
            name,
            head,
            LoopSettings.of(plan["train"]),
            training.loss_of_step,
            training.validate,
            out=out,
            identity={**plan, "encoder_sha256": digest},
            resume=resume,
            progress=progress,
            splits=True,
            logs=make_logs(plan["log"], name, out, plan),
        )
        notes = {
            "recipe": plan,
            "data_sha256": store.sha256(),
            "encoder": source.origin,
            "made_with": made_with(device),
            "validation": figures,
        }
    path = out / f"{name}.safetensors"
    if Ranks.current().first:
        save_head(head.cpu(), path, HeadFile(config, digest, notes))
    return path


def check(plan: Mapping[str, Any]) -> None:
    """Refuse settings that cannot be trained.

    Raises:
        ConfigError: naming them.
    """
    named = [plan["model"]["agent"], plan["model"]["weights"], plan["encoder"].get("family", "")]
    if sum(map(bool, named)) != 1:
        raise ConfigError(f"A head reads the latents of one encoder; set exactly one of {_SOURCES}.")
    target, weights = plan["head"]["target"], plan["train"]["loss"]
    if target not in HEADS:
        raise ConfigError(unknown("head.target", target, HEADS))
    if min(weights.values()) < 0 or not any(weights.values()):
        raise ConfigError(f"train.loss={dict(weights)} is not possible; weights start at 0 and one is above.")
    if target == "state" and weights["lpips"]:
        raise ConfigError("train.loss.lpips is for pictures; set it to 0 for a state decoder.")
    for name, value in (
        ("data.episodes", plan["data"]["episodes"] - 1),
        ("train.steps", plan["train"]["steps"]),
        ("train.batch_size", plan["train"]["batch_size"]),
    ):
        if value < 1:
            raise ConfigError(f"{name} is too small; train on at least two episodes, one step and batches of one.")
    LoopSettings.of(plan["train"])
    check_parts(plan["train"])
    check_logs(plan["log"])


def _source(plan: Mapping[str, Any]) -> Source:
    """The encoder, and what its world model was trained on."""
    agent, weights = plan["model"]["agent"], plan["model"]["weights"]
    if agent:
        model, path = world_model_of(agent)
    elif weights:
        path = Path(weights)
        named = plan["encoder"].get("weights", AUTO)  # of a model that does not hold its encoder
        model = load_world_model(path, None if named == AUTO else named)
    else:
        settings = dict(plan["encoder"])
        normalize = settings.pop("normalize_latents", False)
        # No checkpoint brings this encoder along: "auto" finds or fetches the published file.
        loaded = load_encoder(settings, Path(), may_be_random=False)
        return Source(
            FrozenEncoder(loaded.encoder, normalize),
            {"weights": loaded.description, "weights_sha256": loaded.sha256},
            _normalisation(settings),
        )
    encoder, normalisation = FrozenEncoder.of(model), _normalisation(model.config["encoder"])
    if path is None:
        return Source(encoder, {"agent": agent}, normalisation)
    data = world_model_notes(path).get("recipe", {}).get("data", {})
    return Source(encoder, {"weights": path.name, "weights_sha256": sha256(path)}, normalisation, data)


def _normalisation(encoder: Mapping[str, Any]) -> str:
    return str(encoder.get("normalisation", "imagenet"))


def _data(data: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The table ``data`` with what it leaves open as for the world model.

    Raises:
        ConfigError: if that is not known, or the data cannot be had.
    """
    of_model = source.data
    table = {
        **data,
        "env": data["env"] or of_model.get("env", ""),
        "further_envs": data["further_envs"] or ([] if data["env"] else of_model.get("further_envs", [])),
        "steps": data["steps"] or of_model.get("steps", 0),
        "frameskip": data["frameskip"] or of_model.get("frameskip", 1),
        "image_size": source.encoder.encoder.image_size,
        "loaders": 1,
        "validation": "",
    }
    settings = data["collect"]["settings"] or of_model.get("collect", {}).get("settings", {})
    table["collect"] = {**data["collect"], "settings": settings}
    for key in ("env", "steps"):
        if not table[key] and not table["path"]:
            raise ConfigError(
                f"The world model's file does not say data.{key}; set it, or data.path to an existing data set."
            )
    check_data(table)
    return table


def _head(plan: Mapping[str, Any], source: Source, frames: Frames) -> tuple[dict[str, Any], Any]:
    """Description and fresh weights of the head; what the encoder and the data decide is filled in."""
    config, encoder = dict(plan["head"]), source.encoder.encoder
    compact, target = config.get("family") == "compact", config["target"]
    config["latent_dim"] = encoder.latent_dim
    if target == "state":
        config["state_dim"] = frames.states.shape[1]
    else:
        config["image_size"] = encoder.image_size
    if compact or target == "state":
        config["grid_size"] = encoder.grid_size
    if not compact and target == "image":
        config["normalisation"] = source.normalisation
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan["train"]["seed"])
        head = build_head(config)
    if compact:
        head.fit(frames.states[frames.train] if target == "state" else frames.mean_image())
    return config, head.train()


def _training(target: str, head: Any, frames: Frames, settings: Mapping[str, Any]) -> ImageTraining | StateTraining:
    if target == "state":
        return StateTraining(head, frames, settings)
    if not settings["loss"]["lpips"]:
        return ImageTraining(head, frames, settings)
    device = next(head.parameters()).device
    return ImageTraining(head, frames, settings, load_perceptual_distance().to(device))
