"""The encoder of a training: a compact one, trained here or before, or a published one; frozen in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from jepawm_agents.checkpoints.by_reference import source_of
from jepawm_agents.checkpoints.encoder import load_encoder
from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.suggest import unknown
from jepawm_agents.training.data import Episodes
from jepawm_agents.training.distributed import Ranks, choose_device
from jepawm_agents.training.encoder import EncoderTraining, encode_all
from jepawm_agents.training.features import check_cache
from jepawm_agents.training.loggers import make_logs
from jepawm_agents.training.loop import LoopSettings, Progress, run_loop
from jepawm_agents.training.shipped_encoder import SHIPPED, refuse_without_effect, shipped_encoder
from jepawm_agents.world_models.compact_encoder import CompactEncoder
from jepawm_agents.world_models.encoders.base import Encoder, PatchEncoder
from jepawm_agents.world_models.encoders.registry import ENCODERS
from jepawm_agents.world_models.reference import load_strictly
from jepawm_agents.world_models.weights import build_encoder

STANDARDISE_FRAMES = 8192
NOT_OF_ITS_TRAINING = ("model", "weights", "cache", "cache_dtype", "cache_folder", "encode_batch")
"""Of table ``encoder``: what may be set where the encoder is there already."""


@dataclass(frozen=True)
class MadeEncoder:
    """A frozen encoder."""

    module: Encoder
    source: dict[str, Any] = field(default_factory=dict)
    """Where its weights lie, if not in the world model's own file; see :func:`.by_reference.source_of`."""


def check_encoder(plan: Mapping[str, Any]) -> None:
    """Refuse a recipe whose table ``encoder`` gives none, or says what would have no effect.

    Raises:
        ConfigError: naming the setting.
    """
    settings = plan["encoder"]
    check_cache(settings)
    family = settings["model"].get("family")
    if family not in ENCODERS:
        raise ConfigError(unknown("encoder family", str(family), ENCODERS))
    if _published(settings):
        if not settings["weights"]:
            raise ConfigError(
                f"Encoder {family!r} is published, not trained here; set encoder.weights=auto, to its file, or, to "
                "try things out, to random."
            )
        return
    if family != "compact":
        raise ConfigError(f"Encoder {family!r} is not trained by recipes of this kind.")
    if settings["weights"] == SHIPPED:
        refuse_without_effect(plan, "encoder", [key for key in settings if key not in NOT_OF_ITS_TRAINING])
        shipped_encoder(plan)
    if settings["state"] and not (settings["state_columns"] or settings["state_angles"]):
        raise ConfigError("encoder.state reads labels, but state_columns and state_angles name none of the state.")
    if not settings["weights"] and (settings["steps"] < 0 or settings["batch_size"] < 1):
        raise ConfigError("encoder.steps or encoder.batch_size is too small; 0 steps leave the encoder random.")


def make_encoder(
    plan: Mapping[str, Any], episodes: Episodes, out: Path, resume: bool, progress: Progress
) -> MadeEncoder:
    """The encoder that a recipe describes.

    Args:
        plan: the recipe.
        episodes: for training it, and to see that it can read them.
        out: folder for checkpoint, curve and weights of one that is trained.
        resume: continue from its checkpoint if there is one.
        progress: told about every step.

    Raises:
        ConfigError: for images that it cannot read.
        WeightsError: if its weights cannot be had, or do not fit.
    """
    settings = plan["encoder"]
    if _published(settings):
        loaded = load_encoder({**settings["model"], **_weights(settings)}, None, may_be_random=False)
        return MadeEncoder(loaded.encoder, source_of(loaded))
    _check_images(settings["model"]["image_size"], episodes)
    if settings["weights"]:
        with torch.random.fork_rng(devices=[]):  # building a model draws weights, even where they are then loaded
            return MadeEncoder(_given(plan))
    return MadeEncoder(_trained(plan, episodes, out, resume, progress))


def _published(settings: Mapping[str, Any]) -> bool:
    return issubclass(ENCODERS[settings["model"]["family"]], PatchEncoder)


def _weights(settings: Mapping[str, Any]) -> dict[str, str]:
    """``weights`` and ``entry`` where the recipe states them."""
    return {key: settings[key] for key in ("weights", "entry") if settings[key]}


def _check_images(size: int, episodes: Episodes) -> None:
    """A compact encoder reads images of one size; published ones cut and resize what they get."""
    found = tuple(episodes.pixels.shape[2:4])
    if found != (size, size):
        raise ConfigError(
            f"The images are {found[0]} x {found[1]}, but the encoder reads {size} x {size}; resize them with "
            f"`jepawm-bench data convert --from DATA --image-size {size} --out NEW`, or set encoder.model.image_size."
        )


def _given(plan: Mapping[str, Any]) -> Encoder:
    """A compact encoder that is there already."""
    settings = plan["encoder"]
    if settings["weights"] == SHIPPED:
        return shipped_encoder(plan)
    encoder = build_encoder(settings["model"])
    load_strictly(encoder, _read(Path(settings["weights"])))
    return encoder.eval()


def _trained(
    plan: Mapping[str, Any], episodes: Episodes, out: Path, resume: bool, progress: Progress
) -> CompactEncoder:
    settings = plan["encoder"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        encoder = build_encoder(settings["model"])
        training = EncoderTraining(
            encoder, episodes, settings, alarms=plan["train"]["alarms"], loaders=plan["data"]["loaders"]
        )
    training.to(choose_device(plan["train"]["device"]))
    if settings["steps"]:
        _learn(plan, training, out, resume, progress)
    encoder.cpu().eval()
    episode, time = episodes.frame_places(episodes.train)
    stride = max(1, len(episode) // STANDARDISE_FRAMES)
    encoder.standardise(encode_all(encoder, episodes.pixels[episode[::stride], time[::stride]]))
    if Ranks.current().first:
        save_file({key: value.contiguous() for key, value in encoder.state_dict().items()}, out / "encoder.safetensors")
    return encoder


def _learn(plan: Mapping[str, Any], training: EncoderTraining, out: Path, resume: bool, progress: Progress) -> None:
    settings = plan["encoder"]
    run_loop(
        "encoder",
        training,
        LoopSettings(
            steps=settings["steps"],
            learning_rate=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            log_every=plan["train"]["log_every"],
            validate_every=max(1, settings["steps"] // 5),
            checkpoint_every=100,
            max_seconds=plan["train"]["max_seconds"],
        ),
        training.loss_of_step,
        training.validate,
        out=out,
        identity={key: plan[key] for key in ("data", "encoder")},
        resume=resume,
        progress=progress,
        logs=make_logs(plan["log"], "encoder", out, plan),
    )


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except Exception as problem:  # missing, truncated, not safetensors: one sentence for all
        raise WeightsError(f"The encoder weights {path} cannot be read ({problem}).") from None
