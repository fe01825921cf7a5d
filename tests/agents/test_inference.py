"""Settings of inference: what they change, what they may not, and how they are reached."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from jepawm_agents.agent import JEPAWMAgent
from jepawm_agents.cards import all_cards
from jepawm_agents.control import Control
from jepawm_agents.errors import ConfigError
from jepawm_agents.inference import Imaginer, Inference
from jepawm_agents.loading import world_model_agent
from jepawm_agents.objectives import make_objective
from jepawm_agents.planners import make_planner
from jepawm_agents.preprocessing import Preprocessing
from jepawm_agents.world_models.jepa import Latent
from jepawm_bench.agent import AgentRequest, EpisodeKey

CARDS = {card.name: card for card in all_cards()}
SMALL: dict[str, Any] = {"horizon": 3, "num_samples": 40, "iterations": 3, "num_elites": 8, "execution_horizon": 3}
transformers = pytest.mark.parametrize("family", ["adaln", "dino_wm", "action_token", "feature_rope"])


def observe(episodes: int = 2, image_size: int = 16) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, episodes, image_size, image_size, 3), dtype=np.uint8)
    felt = random.normal(size=(2, episodes, 2)).astype(np.float32)
    return {"pixels": images[0], "goal_pixels": images[1], "proprio": felt[0], "goal_proprio": felt[1]}


def plan(model, inference: Inference, *, reduce: str = "last", planner: str = "cem", context: int = 1, acts: int = 1):
    """Actions and the trace of best costs of the last of some chunks of a small agent."""
    settings = SMALL | ({"execution_horizon": 1} if context > 1 else {})
    agent = JEPAWMAgent(
        model,
        make_planner(planner, **settings),
        make_objective("L2", reduce=reduce),
        Preprocessing(model.encoder.image_size, 5),
        control=Control(context=context),
        inference=inference,
    )
    agent.reset(observe(), [EpisodeKey(0, 0), EpisodeKey(0, 1)])
    chunk = [agent.act(observe(), 15) for _ in range(acts)][-1]
    assert chunk.trace is not None
    return chunk.actions, chunk.trace["best"]


def request(name: str, **inference: Any) -> AgentRequest:
    card = CARDS[name]
    settings = copy.deepcopy(dict(card.variants[card.default_variant]))
    settings.pop("protocols", None)
    settings["planner"] |= SMALL
    if inference:
        settings["inference"] = inference
    return AgentRequest(card, card.default_variant, settings, card.default_env or "", "paper", "cpu", None)


@pytest.mark.parametrize("family", ["adaln", "dino_wm", "action_token", "feature_rope", "gru", "gated"])
def test_the_defaults_are_the_plain_rollout_to_the_bit(tiny_model, family):
    model = tiny_model(family)
    latent = model.encode(observe()["pixels"], observe()["proprio"])
    actions = torch.randn(2, 5, 3, 10, generator=torch.Generator().manual_seed(0))
    imaginer = Imaginer(model, Inference(), last_only=True)
    assert imaginer.prepared is None
    assert torch.equal(imaginer([latent], None, actions).visual, model.rollout(latent, actions).visual)


@transformers
@pytest.mark.parametrize("reduce", ["last", "sum"])
@pytest.mark.parametrize(("planner", "context"), [("cem", 1), ("cem", 2), ("adam", 1)])
def test_a_prepared_plan_is_the_plain_one(tiny_model, family, reduce, planner, context):
    options = {"reduce": reduce, "planner": planner, "context": context, "acts": context}
    plain = plan(tiny_model(family), Inference(), **options)
    fast = plan(tiny_model(family), Inference(fast=True), **options)
    np.testing.assert_allclose(fast[0], plain[0], atol=2e-4)
    np.testing.assert_allclose(fast[1], plain[1], rtol=1e-4)


@transformers
def test_a_plan_in_bf16_is_nearly_as_good(tiny_model, family):
    plain, rough = (plan(tiny_model(family), Inference(precision=name)) for name in ("float32", "bf16"))
    assert rough[1].dtype == np.float32
    assert not np.array_equal(rough[1], plain[1])
    np.testing.assert_allclose(rough[1], plain[1], rtol=0.05)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", ["jepa_wm_wall", "dino_wm_wall"])
def test_portions_change_no_bit_of_a_cost(name, fast):
    agent = world_model_agent(request(name, fast=fast))
    model, random = agent.world_model, torch.Generator().manual_seed(0)
    now = Latent(torch.randn(1, 4, 32, generator=random), torch.zeros(1, 2))
    actions = torch.randn(1, 300, 6, 10, generator=random)
    imaginer = Imaginer(model, Inference(fast=fast))
    with torch.inference_mode():
        whole = imaginer([now], None, actions).visual
        for limit in (20, 64, 100, 299):
            portions = Inference(max_candidates=limit).split(actions)
            assert max(portion.shape[1] for portion in portions) <= limit
            assert torch.equal(torch.cat([imaginer([now], None, part).visual for part in portions], dim=1), whole)


def test_portions_are_even():
    sizes = [part.shape[1] for part in Inference(max_candidates=100).split(torch.zeros(1, 301, 2, 2))]
    assert sizes == [76, 75, 75, 75]


def test_an_agent_imagines_no_more_candidates_at_once_than_it_may(tiny_model, monkeypatch):
    model, seen = tiny_model(), []
    rollout = model.rollout
    monkeypatch.setattr(model, "rollout", lambda now, actions: seen.append(actions.shape[1]) or rollout(now, actions))
    limited = plan(model, Inference(max_candidates=16))
    assert set(seen) == {14, 13}  # 40 candidates in three portions
    np.testing.assert_allclose(limited[0], plan(model, Inference())[0], atol=1e-5)


def test_a_card_or_override_reaches_the_settings():
    agent = world_model_agent(request("jepa_wm_wall", precision="bf16", max_candidates=64))
    assert agent.inference == Inference(precision="bf16", max_candidates=64)
    assert agent.provenance["precision"] == "bfloat16"
    assert agent.provenance["inference"]["max_candidates"] == 64


def test_the_record_of_a_plain_agent_is_what_it_was():
    provenance = world_model_agent(request("jepa_wm_wall")).provenance
    assert provenance["precision"] == "float32"
    assert "inference" not in provenance


@pytest.mark.parametrize(
    ("inference", "message"),
    [
        ({"precision": "bf61"}, "Unknown inference.precision 'bf61'. Did you mean bf16"),
        ({"fast": "yes"}, "inference.fast='yes' is not possible; it is true or false"),
        ({"compile": 1}, "inference.compile=1 is not possible"),
        ({"max_candidates": 0}, "inference.max_candidates=0 is not possible; it is a whole number from 1"),
        ({"max_candidates": True}, "inference.max_candidates=True is not possible"),
        ({"chunk": 3}, "Unknown setting of the inference 'chunk'"),
    ],
)
def test_impossible_settings_are_refused(inference, message):
    with pytest.raises(ConfigError, match=message):
        world_model_agent(request("jepa_wm_wall", **inference))


@pytest.mark.parametrize("inference", [Inference(fast=True), Inference(precision="bf16"), Inference(compile=True)])
def test_a_model_that_cannot_be_prepared_is_refused(tiny_model, inference):
    with pytest.raises(ConfigError, match="cannot be prepared for faster inference"):
        Imaginer(tiny_model("gru"), inference)
