"""Training a world model: data, encoder, predictor, one file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.training.data import Episodes
from jepawm_agents.training.distributed import Ranks, choose_device, first_goes_first
from jepawm_agents.training.encoder import EncoderTraining, encode_all
from jepawm_agents.training.loggers import check_logs, make_logs
from jepawm_agents.training.loop import LoopSettings, Progress, run_loop
from jepawm_agents.training.planning_evaluation import PlanningEvaluation, planning_task
from jepawm_agents.training.predictor import PredictorTraining
from jepawm_agents.training.train_settings import check_training
from jepawm_agents.world_models.compact_encoder import CompactEncoder
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.reference import load_strictly
from jepawm_agents.world_models.weights import build, build_encoder, save_world_model
from jepawm_envs.data import EpisodeStore, collect

STANDARDISE_FRAMES = 8192


def train(plan: Mapping[str, Any], *, out: Path, resume: bool, progress: Progress) -> Path:
    """Train what a recipe of kind ``world_model`` describes; see :func:`jepawm_agents.training.run.main`."""
    check(plan)
    with first_goes_first() as ranks:
        episodes = _data(plan, out, progress)
        encoder = _encoder(plan, episodes, out, resume or not ranks.first, progress)
    model, device = _world_model(plan, encoder, episodes), choose_device(plan["train"]["device"])
    model.encoder.to(device)
    training = PredictorTraining(model, episodes, plan["train"])
    model.to(device)
    figures = run_loop(
        "predictor",
        model.predictor,
        LoopSettings.of(plan["train"], steps=training.steps),
        training.loss_of_step,
        training.validate,
        out=out,
        identity=plan,
        resume=resume,
        progress=progress,
        splits=True,
        evaluate=PlanningEvaluation(model, plan),
        evaluate_every=plan["evaluate"]["every"],
        logs=make_logs(plan["log"], "predictor", out, plan),
    )
    path = out / "model.safetensors"
    notes = {"recipe": plan, "data_sha256": episodes.sha256, "validation": figures}
    if Ranks.current().first:
        save_world_model(model.cpu().eval(), path, notes=notes)
    return path


def check(plan: Mapping[str, Any]) -> None:
    """Refuse settings that cannot be trained.

    Raises:
        ConfigError: naming them.
    """
    data, encoder, train = plan["data"], plan["encoder"], plan["train"]
    if data["image_size"] != encoder["model"]["image_size"]:
        raise ConfigError(
            f"data.image_size={data['image_size']} and encoder.model.image_size={encoder['model']['image_size']} "
            "must be equal: the encoder reads the stored images."
        )
    if plan["model"]["frameskip"] % data["frameskip"]:
        raise ConfigError(
            f"model.frameskip={plan['model']['frameskip']} must be a multiple of data.frameskip={data['frameskip']}: "
            "the model's steps begin at stored frames."
        )
    counts = {"data.episodes": data["episodes"] - 1, "data.steps": data["steps"], "encoder.steps": encoder["steps"]}
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"{name} is too small; train on at least two episodes, one step and batches of one.")
    check_training(train)
    check_logs(plan["log"])
    if plan["evaluate"]["every"] > 0:
        planning_task(plan)


def _data(plan: Mapping[str, Any], out: Path, progress: Progress) -> Episodes:
    data = plan["data"]
    path = Path(data["path"]) if data["path"] else out / "data.h5"
    if not data["path"]:
        collect(
            data["env"],
            path,
            episodes=data["episodes"],
            steps=data["steps"],
            seed=data["seed"],
            image_size=data["image_size"],
            frameskip=data["frameskip"],
            progress=lambda done, total: progress("data", done, total, {}),
        )
    store = EpisodeStore(path)
    episodes = Episodes.load(store, data["validation_share"])
    store.close()
    return episodes


def _encoder(
    plan: Mapping[str, Any], episodes: Episodes, out: Path, resume: bool, progress: Progress
) -> CompactEncoder:
    settings = plan["encoder"]
    if settings["weights"]:
        given = build_encoder(settings["model"])
        load_strictly(given, _read(Path(settings["weights"])))
        return given.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        encoder = build_encoder(settings["model"])
        training = EncoderTraining(encoder, episodes, settings, alarms=plan["train"]["alarms"])
    training.to(choose_device(plan["train"]["device"]))
    run_loop(
        "encoder",
        training,
        LoopSettings(
            steps=settings["steps"],
            learning_rate=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            validate_every=max(1, settings["steps"] // 5),
            checkpoint_every=100,
        ),
        training.loss_of_step,
        training.validate,
        out=out,
        identity={key: plan[key] for key in ("data", "encoder")},
        resume=resume,
        progress=progress,
        logs=make_logs(plan["log"], "encoder", out, plan),
    )
    encoder.cpu().eval()
    frames = episodes.pixels[episodes.train].flatten(0, 1)
    encoder.standardise(encode_all(encoder, frames[:: max(1, len(frames) // STANDARDISE_FRAMES)]))
    if Ranks.current().first:
        save_file({key: value.contiguous() for key, value in encoder.state_dict().items()}, out / "encoder.safetensors")
    return encoder


def _world_model(plan: Mapping[str, Any], encoder: CompactEncoder, episodes: Episodes) -> JEPAWorldModel:
    config = {
        "encoder": plan["encoder"]["model"],
        "predictor": plan["model"]["predictor"],
        "action_dim": episodes.primitive_actions.shape[-1],
        "proprio_dim": episodes.proprio.shape[-1],
        "frameskip": plan["model"]["frameskip"],
        "window": plan["model"]["window"],
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan["train"]["seed"])
        model = build(config)
    model.encoder.load_state_dict(encoder.state_dict())
    return model.train()


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except Exception as problem:  # missing, truncated, not safetensors: one sentence for all
        raise WeightsError(f"The encoder weights {path} cannot be read ({problem}).") from None
