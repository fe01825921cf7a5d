"""Training a world model: data, encoder, predictor, one file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.training.data import SAMPLING, Episodes
from jepawm_agents.training.distributed import Ranks, choose_device, first_goes_first
from jepawm_agents.training.encoder_stage import check_encoder, make_encoder
from jepawm_agents.training.features import encoder_sha256, latents_of
from jepawm_agents.training.loggers import check_logs, make_logs
from jepawm_agents.training.loop import LoopSettings, Progress, run_loop
from jepawm_agents.training.made_with import made_with
from jepawm_agents.training.model_config import model_config
from jepawm_agents.training.planning_evaluation import PlanningEvaluation, planning_task
from jepawm_agents.training.predictor import PredictorTraining
from jepawm_agents.training.shipped_encoder import SHIPPED
from jepawm_agents.training.sources import check_data, load_episodes
from jepawm_agents.training.train_settings import check_training
from jepawm_agents.world_models.encoders.base import Encoder, PatchEncoder
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.weights import build, save_world_model

PLACEHOLDER = 2
"""Size of actions and of proprioception, where only the others are looked at."""


def train(plan: Mapping[str, Any], *, out: Path, resume: bool, progress: Progress) -> Path:
    """Train what a recipe of kind ``world_model`` describes; see :func:`jepawm_agents.training.run.main`."""
    check(plan)
    with first_goes_first() as ranks:
        episodes = load_episodes(plan["data"], out, progress, states=plan["encoder"]["state"] > 0)
        _check_frameskip(plan["model"]["frameskip"], episodes.frameskip)
        encoder = make_encoder(plan, episodes, out, resume or not ranks.first, progress)
        model, device = _world_model(plan, encoder.module, episodes), choose_device(plan["train"]["device"])
        model.encoder_source = encoder.source
        # Another release may ship another one under this word; elsewhere the recipe says which encoder it is.
        of_encoder = {"encoder_sha256": encoder_sha256(model.encoder)} if plan["encoder"]["weights"] == SHIPPED else {}
        model.encoder.to(device)
        visual = latents_of(model.encoder, episodes, plan["encoder"], out, progress)
    data, fit = plan["data"], not any(plan["data"]["normaliser"].values())
    training = PredictorTraining(
        model, episodes, plan["train"], visual, fit=fit, loaders=data["loaders"], sampling=data["sampling"]
    )
    model.to(device)
    figures = run_loop(
        "predictor",
        model.predictor,
        LoopSettings.of(plan["train"], steps=training.steps),
        training.loss_of_step,
        training.validate,
        out=out,
        identity={**plan, **of_encoder},
        resume=resume,
        progress=progress,
        splits=True,
        evaluate=PlanningEvaluation(model, plan),
        evaluate_every=plan["evaluate"]["every"],
        logs=make_logs(plan["log"], "predictor", out, plan),
    )
    path = out / "model.safetensors"
    notes = {
        "recipe": plan,
        "data_sha256": episodes.sha256,
        **of_encoder,
        "made_with": made_with(device),
        "validation": figures,
    }
    if Ranks.current().first:
        save_world_model(model.cpu().eval(), path, notes=notes)
    return path


def check(plan: Mapping[str, Any]) -> None:
    """Refuse settings that cannot be trained.

    Raises:
        ConfigError: naming them.
    """
    data = plan["data"]
    check_data(data)
    if data["sampling"] not in SAMPLING:
        raise ConfigError(unknown("data.sampling", data["sampling"], SAMPLING))
    check_encoder(plan)
    _check_held_out(data, plan["encoder"])
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        encoder = build(model_config(plan, PLACEHOLDER, PLACEHOLDER)).encoder
    made_here = not data["path"] or data["layout"] != "store"
    if made_here and data["image_size"] != encoder.image_size:
        raise ConfigError(
            f"data.image_size={data['image_size']} and encoder.model.image_size={encoder.image_size} "
            "must be equal: the encoder reads the stored images."
        )
    _check_frameskip(plan["model"]["frameskip"], data["frameskip"])
    for name, value in {"data.episodes": data["episodes"] - 1, "data.steps": data["steps"]}.items():
        if value < 1:
            raise ConfigError(f"{name} is too small; train on at least two episodes, one step and batches of one.")
    check_training(plan["train"])
    check_logs(plan["log"])
    if plan["evaluate"]["every"] > 0:
        planning_task(plan)


def _check_held_out(data: Mapping[str, Any], encoder: Mapping[str, Any]) -> None:
    """An encoder that is trained here is judged on episodes that it has not seen."""
    trained = encoder["model"]["family"] == "compact" and not encoder["weights"] and encoder["steps"] > 0
    if trained and not data["validation"] and not data["validation_share"]:
        raise ConfigError(
            "data.validation_share=0 holds out no episode, but the encoder that is trained here is judged on such; "
            "hold out a share, name a data set with data.validation, or an encoder with encoder.weights."
        )


def _check_frameskip(of_model: int, of_data: int) -> None:
    if of_data < 1 or of_model % of_data:
        raise ConfigError(
            f"model.frameskip={of_model} must be a multiple of data.frameskip={of_data}: "
            "the model's steps begin at stored frames."
        )


def _world_model(plan: Mapping[str, Any], encoder: Encoder, episodes: Episodes) -> JEPAWorldModel:
    """A fresh predictor on the encoder, with the recipe's constants if it has any."""
    config = model_config(plan, episodes.primitive_actions.shape[-1], episodes.proprio.shape[-1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan["train"]["seed"])
        # A compact encoder is made anew and then filled: the predictor's fresh weights have always come after it.
        model = build(config, encoder if isinstance(encoder, PatchEncoder) else None)
    model.encoder.load_state_dict(encoder.state_dict())
    constants = plan["data"]["normaliser"]
    if any(constants.values()):
        model.normaliser.set(constants)
    return model.train()
