"""Every card describes an agent that can be made, and mistakes are answered with a sentence."""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
import importlib
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import jepawm_agents
from jepawm_agents import loading
from jepawm_agents.agent import JEPAWMAgent
from jepawm_agents.cards import all_cards
from jepawm_agents.cards.table import _variant
from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.loading import true_simulator_agent, world_model_agent
from jepawm_agents.planners import make_planner
from jepawm_agents.world_models.weights import save_world_model
from jepawm_bench.agent import AgentCard, AgentRequest, EpisodeKey
from jepawm_bench.registry import Registry
from jepawm_bench.settings import for_protocol
from jepawm_envs.registration import ENVIRONMENTS

CARDS = {card.name: card for card in all_cards()}
MEGABYTES_SHIPPED = 10
PLANNED = ("JepaWM/Droid-v0",)
"""Environments whose agents are known before they are."""
PUBLISHED_PLANS = {"Metaworld": (6, 3, 15), "Droid": (3, 3, 15)}
"""Horizon, executed steps and iterations of Table S4.1, where they are not 6, 6 and 30."""

every_card = pytest.mark.parametrize("name", list(CARDS))
every_variant = pytest.mark.parametrize(
    ("name", "variant"), [(card.name, variant) for card in CARDS.values() for variant in card.variants]
)
every_plan_of_the_study = pytest.mark.parametrize(  # EB-JEPA is another publication, see test_eb_jepa_training.py
    ("name", "variant"),
    [(card.name, variant) for card in CARDS.values() for variant in card.variants if card.name != "eb_jepa_two_rooms"],
)
every_trained = pytest.mark.parametrize(
    ("name", "variant"),
    [(card.name, v) for card in CARDS.values() for v, settings in card.variants.items() if "weights" in settings],
)


def request(card: AgentCard, variant: str | None = None, *, weights: str | None = None, **changes: Any) -> AgentRequest:
    """What the harness hands over; ``changes`` replace single settings of the planner."""
    name = variant or card.default_variant
    settings = copy.deepcopy(dict(card.variants[name]))
    env_id = card.default_env or next(iter(ENVIRONMENTS))
    settings = for_protocol(settings, "paper", env_id)
    settings["planner"] = {**settings["planner"], **changes}
    return AgentRequest(card, name, settings, env_id, "paper", "cpu", weights)


@pytest.fixture
def tiny_weights(tmp_path, tiny_model) -> str:
    path = tmp_path / "tiny.safetensors"
    save_world_model(tiny_model(), path)
    return str(path)


def play(agent: JEPAWMAgent, observations: dict[str, np.ndarray], episodes: list[int]) -> np.ndarray:
    agent.reset(observations, [EpisodeKey(1, episode) for episode in episodes])
    return agent.act(observations, steps_left=30).actions


@every_card
def test_a_card_names_a_factory_that_exists_and_known_environments(name):
    card = CARDS[name]
    module, attribute = card.factory.split(":")
    assert callable(getattr(importlib.import_module(module), attribute))
    for pattern in card.envs:
        assert fnmatch.filter([*ENVIRONMENTS, *PLANNED], pattern)
    assert card.default_env is None or card.default_env in {*ENVIRONMENTS, *PLANNED}
    assert card.description and card.requires == "agents"


@every_variant
def test_the_planner_of_every_variant_and_protocol_can_be_made(name, variant):
    settings = CARDS[name].variants[variant]
    protocols = settings.get("protocols", {})
    for changes in ({}, *protocols.values()):
        table = {**settings["planner"], **changes.get("planner", {})}
        assert make_planner(table.pop("name"), **table).evaluations > 0


@every_plan_of_the_study
def test_planner_settings_of_every_variant_are_the_published_ones(name, variant):
    """Another planner has no more evaluations than the published one."""
    env = str(CARDS[name].default_env)
    plans = [plan for family, plan in PUBLISHED_PLANS.items() if family in env]
    horizon, executed, iterations = plans[0] if plans else (6, 6, 30)
    table = dict(CARDS[name].variants[variant]["planner"])
    family = table.pop("name")
    planner: Any = make_planner(family, **table)
    assert (planner.horizon, planner.execution_horizon, planner.iterations) == (horizon, executed, iterations)
    assert planner.elite_count == 10
    if family == "cem":
        assert planner.num_samples == 300
    assert planner.evaluations <= 300 * iterations


@every_trained
def test_shipped_weights_load_and_are_small(name, variant):
    path = files("jepawm_agents") / "weights" / CARDS[name].variants[variant]["weights"]
    assert path.is_file(), f"{path} is not there; train it with the recipe of the card"
    assert len(path.read_bytes()) <= MEGABYTES_SHIPPED * 1e6
    agent = world_model_agent(request(CARDS[name], variant))
    assert set(agent.provenance) >= {"weights", "weights_sha256", "parameters", "precision", "torch"}


def test_every_file_of_weights_is_an_agents_or_a_decoder():
    shipped = {file.name for file in (files("jepawm_agents") / "weights").iterdir() if file.name.endswith("tensors")}
    named = {settings.get("weights") for card in CARDS.values() for settings in card.variants.values()}
    assert {name for name in shipped - named if not name.endswith("_decoder.safetensors")} == set()


def test_the_table_of_agents_names_every_trained_agent_and_no_variant_that_is_not():
    page = (Path(__file__).resolve().parents[2] / "agents" / "README.md").read_text()
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `") and "|" in row[3:]}
    variants = {name: set(re.findall(r"`@([\w-]+)`", row)) for name, row in rows.items()}
    for card in CARDS.values():
        trained = {name for name, settings in card.variants.items() if "weights" in settings}
        if trained:
            assert variants[card.name] <= set(card.variants), card.name
            named = set().union(*variants.values()) if "likewise" in rows[card.name] else variants[card.name]
            assert trained - {card.default_variant} <= named, card.name


@pytest.mark.parametrize(
    ("env_id", "said"), [("JepaWM/MetaworldReachWall-v0", ""), ("JepaWM/MetaworldPush-v0", "is new to it")]
)
def test_weights_say_when_an_environment_is_new_to_them(capsys, env_id, said):
    world_model_agent(dataclasses.replace(request(CARDS["jepa_wm_metaworld"]), env_id=env_id))
    err = capsys.readouterr().err
    assert (said in err and "JepaWM/MetaworldReach-v0 and JepaWM/MetaworldReachWall-v0" in err) if said else not err


@every_trained
def test_a_shipped_agent_plans_one_episode_alike_alone_and_among_three(name, variant):
    agent = world_model_agent(request(CARDS[name], variant, num_samples=20, iterations=2))
    env = gymnasium.make(CARDS[name].default_env or "", image_size=agent.image_size, **agent.observation_options)
    seen = [env.reset(seed=seed)[0] for seed in (1, 2, 3)]
    env.close()
    stacked = {key: np.stack([one[key] for one in seen]) for key in seen[0]}
    together = play(agent, stacked, [4, 5, 6])
    for row in range(3):
        alone = play(agent, {key: value[row : row + 1] for key, value in stacked.items()}, [4 + row])
        np.testing.assert_array_equal(alone[0], together[row])


def test_weights_can_be_given_instead_of_the_shipped_ones(tiny_weights):
    agent = world_model_agent(request(CARDS["jepa_wm_wall"], weights=tiny_weights))
    assert agent.image_size == 16
    assert agent.provenance["weights"] == "tiny.safetensors"
    assert agent.provenance["parameters"] == sum(p.numel() for p in agent.world_model.parameters())


def test_loading_by_name_takes_variant_and_weights(tiny_weights, monkeypatch):
    monkeypatch.setattr(loading, "load_registry", lambda: Registry(dict(CARDS), dict.fromkeys(CARDS, "here"), {}))
    for name in ("jepa_wm_wall", "jepa_wm_wall@compact"):
        agent = jepawm_agents.load_agent(name, weights=tiny_weights)
        assert isinstance(agent, JEPAWMAgent) and agent.planner.evaluations == 300 * 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"planner": {"name": "cemm"}}, r"Unknown planner 'cemm'\. Did you mean cem"),
        ({"planner": {"sample": 3}}, r"Unknown setting of planner cem 'sample'"),
        ({"planner": {"bounds": {"12": 0.1}}}, r"names action dimension 12; there are 0 to \d+"),
        ({"planner": {"bounds": {"0": -1.0}}}, "must be a table of action dimension to positive limit"),
        ({"planner": {"name": "cem", "chunk": 2}}, r"planner\.chunk=2 is not possible: a model action is 5"),
        ({"planner": {"bounds": 0}}, "or one limit for all dimensions"),
        ({"planner": {"bounds": True}}, "or one limit for all dimensions"),
        ({"objective": {"alpha": -1}}, "alpha=-1 is not possible"),
        ({"planner": {"num_elites": 301, "num_samples": 300}}, "num_elites=301 is not possible"),
        ({"objective": {"name": "L7"}}, r"Unknown objective 'L7'"),
        ({"objective": {"alhpa": 1.0}}, r"Unknown setting of the objective 'alhpa'\. Did you mean alpha"),
        ({"plannr": {}}, r"Unknown agent setting 'plannr'\. Did you mean planner"),
    ],
)
def test_mistaken_settings_are_refused_with_the_nearest_name(tiny_weights, changes, message):
    asked = AgentRequest(CARDS["jepa_wm_wall"], "compact", changes, "JepaWM/Wall-v0", "paper", "cpu", tiny_weights)
    with pytest.raises(ConfigError, match=message):
        world_model_agent(asked)


def test_missing_weights_are_refused_with_their_path(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no weights file at .*absent\.safetensors"):
        world_model_agent(request(CARDS["jepa_wm_wall"], weights=str(tmp_path / "absent.safetensors")))


def test_the_true_simulator_refuses_weights_and_an_objective():
    card = CARDS["true_simulator"]
    with pytest.raises(ConfigError, match="true_simulator has no weights; leave --weights out"):
        true_simulator_agent(request(card, weights="x.safetensors"))
    asked = AgentRequest(card, "default", {"objective": {"name": "L2"}}, "JepaWM/Wall-v0", "paper", "cpu")
    with pytest.raises(ConfigError, match="Unknown agent setting 'objective'"):
        true_simulator_agent(asked)


def test_cuda_is_refused_where_there_is_none(tiny_weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plain = request(CARDS["jepa_wm_wall"], weights=tiny_weights)
    asked = AgentRequest(plain.card, plain.variant, plain.settings, plain.env_id, "paper", "cuda", tiny_weights)
    with pytest.raises(ConfigError, match="torch sees no CUDA device; use --device cpu"):
        world_model_agent(asked)


def test_the_package_names_its_public_parts_lazily():
    assert jepawm_agents.JEPAWMAgent is JEPAWMAgent
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        jepawm_agents.absent  # noqa: B018


def test_agents_that_play_without_a_download_come_first():
    fetched = ["checkpoint" in card.variants[card.default_variant] for card in CARDS.values()]
    assert fetched == sorted(fetched) and len(set(fetched)) == 2


def test_a_variant_may_rest_on_another_and_change_its_weights_alone():
    card = {
        "variants": {
            "compact": {"weights": "a.safetensors", "planner": {"name": "cem", "horizon": 6}},
            "compact-seed1": {"base": "compact", "weights": "b.safetensors", "planner": {"horizon": 3}},
        }
    }
    assert _variant(card, "compact-seed1") == {"weights": "b.safetensors", "planner": {"name": "cem", "horizon": 3}}
    assert _variant(card, "compact") == card["variants"]["compact"]
