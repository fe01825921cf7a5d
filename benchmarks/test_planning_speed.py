"""One iteration of a planner without a model, and the whole plan of an episode with one."""

from __future__ import annotations

import numpy as np
import pytest

from jepawm_agents.agent import JEPAWMAgent
from jepawm_agents.cards import all_cards
from jepawm_agents.objectives import make_objective
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.noise import EpisodeNoise
from jepawm_agents.planners.registry import PLANNERS
from jepawm_agents.preprocessing import Preprocessing
from jepawm_bench.agent import EpisodeKey

CARDS = {card.name: card for card in all_cards()}
AGENTS = {"adaln": "jepa_wm_wall", "dino_wm": "dino_wm_wall"}


@pytest.mark.parametrize("name", list(PLANNERS))
@pytest.mark.parametrize(("samples", "horizon"), [(300, 6), (300, 1), (1200, 6)])
def test_one_iteration_at_no_cost(benchmark, name, samples, horizon):
    planner = make_planner(name, horizon=horizon, execution_horizon=horizon, num_samples=samples, iterations=1)
    noise = EpisodeNoise([(0, 0)], 0)
    benchmark(planner.plan, lambda actions: actions[..., 0, 0], batch=1, action_dim=10, noise=noise)


@pytest.mark.parametrize("family", list(AGENTS))
def test_whole_plan_of_one_episode(benchmark, compact_model, family):
    card = CARDS[AGENTS[family]]
    settings = card.variants[card.default_variant]
    planner, objective = dict(settings["planner"]), dict(settings["objective"])
    model = compact_model(family)
    agent = JEPAWMAgent(
        model,
        make_planner(planner.pop("name"), **planner),
        make_objective(objective.pop("name"), **objective),
        Preprocessing(model.encoder.image_size, model.config["frameskip"]),
    )
    size = agent.image_size
    observation = {
        "pixels": np.zeros((1, size, size, 3), np.uint8),
        "goal_pixels": np.full((1, size, size, 3), 255, np.uint8),
        "proprio": np.full((1, 2), 20.0, np.float32),
        "goal_proprio": np.full((1, 2), 40.0, np.float32),
    }
    agent.reset(observation, [EpisodeKey(0, 0)])
    benchmark.pedantic(agent.act, (observation, 30), rounds=3, iterations=1)
