"""From a card to an agent."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from jepawm_agents.agent import JEPAWMAgent
from jepawm_agents.checkpoints.encoder import AUTO, RANDOM
from jepawm_agents.checkpoints.published import SETTINGS, load_published
from jepawm_agents.control import Control
from jepawm_agents.errors import ConfigError
from jepawm_agents.inference import Inference
from jepawm_agents.objectives import OBJECTIVE_SETTINGS, Objective, make_objective
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.base import Planner
from jepawm_agents.preprocessing import Preprocessing
from jepawm_agents.simulator_agent import TrueSimulatorAgent
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.weights import load_world_model, sha256, world_model_notes
from jepawm_bench.agent import Agent, AgentRequest
from jepawm_bench.registry import load_registry, make_agent
from jepawm_bench.run_spec import resolve
from jepawm_bench.tasks import make_world
from jepawm_envs.goal_env import GoalEnv


def load_agent(name: str, weights: str | Path | None = None, device: str = "cpu") -> Agent:
    """Load an agent by name, ``name`` or ``name@variant``, with its settings for protocol ``paper``.

    Args:
        name: see ``jepawm-bench list agents``.
        weights: a file to use instead of the shipped one.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        jepawm_bench.errors.BenchError: for an unknown name.
        WeightsError: if the weights cannot be loaded.
    """
    name, _, variant = name.partition("@")
    card = load_registry().card(name)
    spec, _ = resolve(card, variant=variant or None, weights=None if weights is None else str(weights))
    return make_agent(spec.request(card, _device(device)))


def world_model_agent(request: AgentRequest) -> JEPAWMAgent:
    """Factory of the cards whose agent is a world model with a planner."""
    settings = dict(request.settings)
    load = _published(request, settings) if _is_published(request, settings) else _trained_here(request, settings)
    return _assembled(load, settings, request.device)


def agent_in_memory(model: JEPAWorldModel, settings: Mapping[str, Any], device: str | torch.device) -> JEPAWMAgent:
    """An agent around a world model that is at hand.

    Args:
        model: the agent puts it into evaluation mode, freezes and moves it.
        settings: of a card's variant; what says where weights come from has no meaning here.
        device: where to plan.

    Raises:
        ConfigError: for settings that are unknown or do not fit.
    """
    rest = {key: value for key, value in settings.items() if key not in (*SETTINGS, "weights", "recipe")}
    return _assembled(lambda: (model, {}), rest, str(device))


def _assembled(load: Callable[[], tuple[JEPAWorldModel, Any]], settings: dict[str, Any], device: str) -> JEPAWMAgent:
    """The agent of a world model, loaded when all settings are known to fit."""
    planner, objective, control = _planner(settings), _objective(settings), _control(settings)
    inference, observation = _inference(settings), _observation(settings)
    _refuse_rest(settings, ("planner", "objective", "control", "inference", "observation"))
    model, provenance = load()
    _check_bounds(planner, model.config["action_dim"] * model.config["frameskip"])
    _check_chunk(planner, model.config["frameskip"])
    return JEPAWMAgent(
        model,
        planner,
        objective,
        Preprocessing(model.encoder.image_size, model.config["frameskip"]),
        device=_device(device),
        provenance=provenance,
        control=control,
        inference=inference,
        observation_options=observation,
    )


def _is_published(request: AgentRequest, settings: Mapping[str, Any]) -> bool:
    """Whether the variant is a published checkpoint and no file that ``jepawm-bench train`` wrote takes its place."""
    return "checkpoint" in settings and not str(request.weights).endswith(".safetensors")


def _trained_here(request: AgentRequest, settings: dict[str, Any]) -> Callable[[], tuple[JEPAWorldModel, Any]]:
    """Loads the weights that come with the package, or others of that kind; takes its part of the settings."""
    shipped = settings.pop("weights", None)
    if request.weights is None and shipped is None:
        raise ConfigError(f"Agent {request.card.name!r} comes without weights; name a file with --weights.")
    path = _shipped(shipped) if request.weights is None else Path(request.weights)
    settings.pop("recipe", None)
    _leave_out_published(request, settings)
    encoder_weights = _encoder_weights(settings)

    def load() -> tuple[JEPAWorldModel, Any]:
        model = load_world_model(path, encoder_weights)
        _say_if_foreign(path, request.env_id)
        return model, {
            "weights": path.name,
            "weights_sha256": sha256(path),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "precision": "float32",
            "torch": torch.__version__,
            **_encoder_record(model),
        }

    return load


def _say_if_foreign(path: Path, env_id: str) -> None:
    """Say so if weights meet an environment that they were not trained on: it may be meant, and is never seen later."""
    data = world_model_notes(path).get("recipe", {}).get("data", {})
    seen = [env for env in (data.get("env"), *data.get("further_envs", ())) if env]
    if seen and env_id not in seen:
        print(f"{path.name} was trained on {' and '.join(seen)}; {env_id} is new to it.", file=sys.stderr)


def _leave_out_published(request: AgentRequest, settings: dict[str, Any]) -> None:
    """Take the description of a published checkpoint out, in whose place a file is used that describes itself.

    Raises:
        ConfigError: if the user changed that description.
    """
    own = request.card.variants[request.variant]
    if "checkpoint" not in own:
        return
    for key in SETTINGS:
        stated = settings.pop(key, None)
        if key == "encoder" and stated != own[key]:
            settings["encoder"] = {name: value for name, value in stated.items() if own[key].get(name) != value}
        elif stated != own.get(key):
            raise ConfigError(f"{request.weights} says itself what {key} is; leave the setting out.")


def _encoder_weights(settings: dict[str, Any]) -> str | None:
    """The file of ``encoder.weights``, for a model that does not hold its encoder; takes the table out."""
    table = dict(settings.pop("encoder", {}))
    named = table.pop("weights", AUTO)
    for key in table:
        raise ConfigError(unknown("setting of the encoder", key, ["weights"]))
    return None if named == AUTO else str(named)


def _encoder_record(model: JEPAWorldModel) -> dict[str, Any]:
    """For the record of a run, of an encoder that the model's file does not hold."""
    source = model.encoder_source
    if not source:
        return {}
    record = {"encoder": source["file"], "encoder_sha256": source["sha256"]}
    if source["file"] == RANDOM:
        record["unranked"] = "The image encoder has random weights; the agent was trained to try things out."
    return record


def _published(request: AgentRequest, settings: dict[str, Any]) -> Callable[[], tuple[JEPAWorldModel, Any]]:
    """Loads a published checkpoint; takes its part of the settings."""
    description = {key: settings.pop(key) for key in SETTINGS if key in settings}
    path = None if request.weights is None else Path(request.weights)

    def load() -> tuple[JEPAWorldModel, Any]:
        published = load_published(description, path)
        return published.model, published.provenance

    return load


def true_simulator_agent(request: AgentRequest) -> TrueSimulatorAgent:
    """Factory of ``true_simulator``."""
    settings = dict(request.settings)
    planner, frameskip = _planner(settings), settings.pop("frameskip", None)
    _refuse_rest(settings, ("planner", "frameskip"))
    if frameskip is not None and (not isinstance(frameskip, int) or frameskip < 1):
        raise ConfigError(f"frameskip={frameskip!r} is not possible; it is a number of environment steps.")
    if getattr(planner, "differentiates", False):
        raise ConfigError("The true simulator has no gradients; choose a planner that samples, such as cem.")
    if request.weights is not None:
        raise ConfigError("Agent true_simulator has no weights; leave --weights out.")
    env = make_world(request.env_id, request.env_settings)
    if not isinstance(env, GoalEnv):
        raise ConfigError(f"{request.env_id} has no simulator that agent true_simulator can plan with.")
    return TrueSimulatorAgent(env, planner, frameskip=frameskip or env.frameskip, action_std=env.behaviour_std)


def _planner(settings: dict[str, Any]) -> Planner:
    table = dict(settings.pop("planner", {}))
    return make_planner(table.pop("name", "cem"), **table)


def _control(settings: dict[str, Any]) -> Control:
    return Control(**_table(settings, "control", Control))


def _observation(settings: dict[str, Any]) -> dict[str, Any]:
    """Takes out the options of observation; which there are is the environment's affair, and the harness asks it."""
    table = settings.pop("observation", {})
    if not isinstance(table, Mapping):
        raise ConfigError(f'observation={table!r} is not possible; it is a table, such as {{channels = "two"}}.')
    return dict(table)


def _inference(settings: dict[str, Any]) -> Inference:
    return Inference(**_table(settings, "inference", Inference))


def _table(settings: dict[str, Any], name: str, kind: type[Control] | type[Inference]) -> dict[str, Any]:
    """Takes a table of settings out, after a look at its keys."""
    table, known = dict(settings.pop(name, {})), [field.name for field in dataclasses.fields(kind)]
    for key in table:
        if key not in known:
            raise ConfigError(unknown(f"setting of the {name}", key, known))
    return table


def _objective(settings: dict[str, Any]) -> Objective:
    table = dict(settings.pop("objective", {}))
    name = table.pop("name", "L2")
    for key in table:
        if key not in OBJECTIVE_SETTINGS:
            raise ConfigError(unknown("setting of the objective", key, OBJECTIVE_SETTINGS))
    return make_objective(name, **table)


def _check_bounds(planner: Planner, action_dim: int) -> None:
    """Refuse bounds on dimensions that a model action does not have, before anything is played."""
    bounds = getattr(planner, "bounds", {})
    for dimension in bounds if isinstance(bounds, Mapping) else ():
        if int(dimension) >= action_dim:
            raise ConfigError(f"planner.bounds names action dimension {dimension}; there are 0 to {action_dim - 1}.")


def _check_chunk(planner: Planner, frameskip: int) -> None:
    """Refuse to colour noise over chunks that are not the model's."""
    chunk = getattr(planner, "chunk", 1)
    if chunk not in (1, frameskip):
        raise ConfigError(f"planner.chunk={chunk} is not possible: a model action is {frameskip} primitive ones, or 1.")


def _refuse_rest(settings: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in settings:
        raise ConfigError(unknown("agent setting", key, known))


def _shipped(name: str) -> Path:
    """A weights file of this package."""
    return Path(str(files("jepawm_agents"))) / "weights" / name


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda was asked for, but torch sees no CUDA device; use --device cpu.")
    return name
