"""Recipes of kind ``eb_jepa``: a world model of Two Rooms trained end to end (arXiv 2602.03604)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from jepawm_agents.errors import ConfigError
from jepawm_agents.training.ahead import Ahead
from jepawm_agents.training.checkpoint import of_first_stage
from jepawm_agents.training.distributed import Ranks, choose_device
from jepawm_agents.training.end_to_end import EndToEndTraining
from jepawm_agents.training.features import encoder_sha256
from jepawm_agents.training.loggers import check_logs, make_logs
from jepawm_agents.training.loop import LoopSettings, Progress, run_loop
from jepawm_agents.training.made_with import made_with
from jepawm_agents.training.model_config import model_config
from jepawm_agents.training.planning_evaluation import PlanningEvaluation, planning_task
from jepawm_agents.training.refine import SAME, check_refinement, refined_model, refinement, stage, training_walks
from jepawm_agents.training.shipped_encoder import SHIPPED, refuse_without_effect, shipped_encoder
from jepawm_agents.training.two_rooms import Batch, TwoRoomsWindows, check_data, sha256_of
from jepawm_agents.world_models.eb_jepa import GRUPredictor
from jepawm_agents.world_models.encoders.base import Encoder
from jepawm_agents.world_models.encoders.impala import ImpalaEncoder
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.weights import build, load_world_model, save_world_model

ACTION_DIM, PROPRIO_DIM = 2, 2  # actions are in pixels, not normalised, as published
OF_THE_ENCODER = ("probe_px", "layout_px", "effective_rank", "smallest_std")
"""Figures of the first stage that another predictor does not change."""
FIRST_STAGE_ALONE = ("frames", "inverse_dynamics_width", "probe_width", "layout", "regulariser")
"""Of table ``train``: what the second stage does not know; of the rest it has its own or takes it over."""


def train(plan: Mapping[str, Any], *, out: Path, resume: bool, progress: Progress) -> Path:
    """Train what a recipe of kind ``eb_jepa`` describes; see :func:`jepawm_agents.training.run.main`.

    With ``encoder.weights`` the second stage alone, on an encoder that is there already. Else
    ``probe.safetensors`` and ``inverse_dynamics.safetensors`` are written beside the model; nothing plays with them.
    """
    check(plan)
    device, windows = choose_device(plan["train"]["device"]), _windows(plan)
    common: dict[str, Any] = {
        "out": out,
        "resume": resume,
        "progress": progress,
        "evaluate_every": plan["evaluate"]["every"],
    }
    if plan["encoder"]["weights"]:
        model, figures = _with_given_encoder(plan).to(device), {}
        notes = {"encoder_sha256": encoder_sha256(model.encoder)}
    else:
        model, figures = _first_stage(plan, windows, device, common)
        notes = {"data_sha256": windows.sha256}
    if plan["refine"]["steps"]:
        model, refined = _second_stage(plan, model, windows, device, common)
        figures = {name: figures[name] for name in OF_THE_ENCODER if name in figures} | refined
        notes["refine_data_sha256"] = sha256_of(training_walks(windows, stage(plan)))
    path = out / "model.safetensors"
    notes |= {"recipe": plan, "made_with": made_with(device), "validation": figures}
    save_world_model(model.cpu().eval(), path, notes=notes)
    return path


def _first_stage(
    plan: Mapping[str, Any], windows: TwoRoomsWindows, device: torch.device, common: Mapping[str, Any]
) -> tuple[JEPAWorldModel, dict[str, float]]:
    """All parts end to end; the model and the figures of its validation."""
    settings, out = plan["train"], common["out"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        model = build(model_config(plan, ACTION_DIM, PROPRIO_DIM))
        training = EndToEndTraining(*_parts(model), _ahead(windows, settings["steps"]), windows.held_out(), settings)
    training.to(device)
    model.to(device)
    figures = run_loop(
        "eb_jepa",
        training,
        LoopSettings.of(settings),
        training.loss_of_step,
        training.validate,
        identity=of_first_stage(plan),
        evaluate=PlanningEvaluation(model, plan, frozen_encoder=False),
        logs=make_logs(plan["log"], "eb_jepa", out, plan),
        clipped=training.clipped,
        **common,
    )
    for name in ("probe", "inverse_dynamics"):
        save_file(getattr(training, name).cpu().state_dict(), out / f"{name}.safetensors")
    return model, figures


def _second_stage(
    plan: Mapping[str, Any],
    model: JEPAWorldModel,
    windows: TwoRoomsWindows,
    device: torch.device,
    common: Mapping[str, Any],
) -> tuple[JEPAWorldModel, dict[str, float]]:
    """The predictor alone; the model with it and the figures of its validation."""
    with torch.random.fork_rng(devices=[]):
        model = refined_model(model, plan).to(device)
    refined = refinement(model, windows, stage(plan), common["progress"])
    figures = run_loop(
        "refine",
        refined,
        LoopSettings.of(stage(plan)),
        refined.loss_of_step,
        refined.validate,
        identity={**plan, "encoder_sha256": encoder_sha256(model.encoder)},
        evaluate=PlanningEvaluation(model, plan),
        logs=make_logs(plan["log"], "refine", common["out"], plan),
        **common,
    )
    return model, figures


def _with_given_encoder(plan: Mapping[str, Any]) -> JEPAWorldModel:
    """A model whose encoder is that of another one, and whose predictor has learned nothing.

    Raises:
        ConfigError: if the recipe describes another encoder.
        WeightsError: if the file cannot be read.
    """
    with torch.random.fork_rng(devices=[]):  # building a model draws weights, even where they are then loaded
        model = build(model_config(plan, ACTION_DIM, PROPRIO_DIM))
        model.encoder.load_state_dict(_given_encoder(plan).state_dict())
    return model


def _given_encoder(plan: Mapping[str, Any]) -> Encoder:
    named = plan["encoder"]["weights"]
    if named == SHIPPED:
        return shipped_encoder(plan)
    source = load_world_model(Path(named))
    if source.config["encoder"] != plan["encoder"]["model"]:
        raise ConfigError(
            f"The encoder of encoder.weights={named} is {source.config['encoder']}, but encoder.model says "
            f"{plan['encoder']['model']}."
        )
    return source.encoder


def check(plan: Mapping[str, Any]) -> None:
    """Refuse settings that cannot be trained.

    Raises:
        ConfigError: naming them.
    """
    data, model, settings = plan["data"], plan["model"], plan["train"]
    if Ranks.current().size > 1:
        raise ConfigError(
            "EB-JEPA is trained by one process: variances and covariances are those of the whole batch. Start it "
            "without torchrun."
        )
    check_data(data)
    families = {
        "encoder": (plan["encoder"]["model"]["family"], "impala"),
        "predictor": (model["predictor"]["family"], "gru"),
    }
    for part, (asked, only) in families.items():
        if asked != only:
            raise ConfigError(f"The {part} family of EB-JEPA is {only!r}, not {asked!r}.")
    if data["image_size"] != plan["encoder"]["model"]["image_size"]:
        raise ConfigError(
            f"data.image_size={data['image_size']} and encoder.model.image_size="
            f"{plan['encoder']['model']['image_size']} must be equal: the encoder sees the pictures that are drawn."
        )
    for name in ("batch_size", "frames", "rollout_steps"):
        if settings[name] < 1:
            raise ConfigError(f"train.{name}={settings[name]} is not possible; it must be at least 1.")
    if settings["layout"] < 0:
        raise ConfigError(f"train.layout={settings['layout']} is not possible; it is a weight from 0 up.")
    if model["frameskip"] < 1:
        raise ConfigError(f"model.frameskip={model['frameskip']} is not possible; it must be at least 1.")
    if settings["rollout_steps"] >= settings["frames"]:
        raise ConfigError(
            f"train.rollout_steps={settings['rollout_steps']} needs more frames than train.frames={settings['frames']}."
        )
    LoopSettings.of(settings)
    check_refinement(plan, model_config(plan, ACTION_DIM, PROPRIO_DIM))
    if plan["encoder"]["weights"]:
        _check_second_stage_alone(plan)
    choose_device(settings["device"])
    check_logs(plan["log"])
    if plan["evaluate"]["every"] > 0:
        planning_task(plan)


def _check_second_stage_alone(plan: Mapping[str, Any]) -> None:
    refine = plan["refine"]
    if refine["steps"] == 0 or refine["predictor"]["family"] == SAME:
        raise ConfigError(
            f"encoder.weights={plan['encoder']['weights']} leaves the second stage alone to train, on a predictor that "
            f'begins anew; set refine.steps above 0 and refine.predictor.family to another word than "{SAME}", or '
            "leave encoder.weights empty."
        )
    refuse_without_effect(plan, "train", [key for key in plan["train"] if key in (*FIRST_STAGE_ALONE, *refine)])
    _given_encoder(plan)


def _windows(plan: Mapping[str, Any]) -> TwoRoomsWindows:
    settings = plan["train"]
    return TwoRoomsWindows(
        plan["data"],
        frameskip=plan["model"]["frameskip"],
        frames=settings["frames"],
        batch_size=settings["batch_size"],
    )


def _ahead(windows: TwoRoomsWindows, steps: int) -> Ahead[int, Batch]:
    """The batches of the steps, made while others are trained on."""
    return Ahead(windows.of_step, lambda step: step + 1 if step + 1 < steps else None, threads=1)


def _parts(model: JEPAWorldModel) -> tuple[ImpalaEncoder, GRUPredictor]:
    encoder, predictor = model.encoder, model.predictor
    if not isinstance(encoder, ImpalaEncoder) or not isinstance(predictor, GRUPredictor):
        raise ConfigError("EB-JEPA has an Impala encoder and a recurrent predictor; check() says so of a recipe.")
    return encoder, predictor
