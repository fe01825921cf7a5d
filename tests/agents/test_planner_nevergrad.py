"""The nevergrad planner: which optimizer it takes, what it is told, and whose random numbers it uses."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.nevergrad import Nevergrad, _nevergrad, _Search
from jepawm_agents.planners.noise import EpisodeNoise

SMALL: dict[str, Any] = {"horizon": 3, "num_samples": 30, "iterations": 4, "num_elites": 5, "execution_horizon": 2}
BITS = np.arange(8, dtype=np.uint32)


def plan(cost, *, episode: int = 0, **settings):
    planner = make_planner("nevergrad", **{**SMALL, **settings})
    return planner.plan(cost, batch=1, action_dim=2, noise=EpisodeNoise([(0, episode)], 0))


def norm_cost(actions: Tensor) -> Tensor:
    return (actions - 0.5).square().sum(dim=(2, 3))


def optimizer_for(steps: int, action_dim: int, **settings) -> str:
    search = _Search(Nevergrad(**settings), np.zeros((steps, action_dim)), BITS)
    return getattr(search._optimizer, "optim", search._optimizer).name


@pytest.mark.parametrize(("steps", "action_dim", "iterations"), [(6, 10, 30), (6, 20, 15), (3, 7, 15)])
def test_ngopt_becomes_diagonal_cma_for_the_published_problems(steps, action_dim, iterations):
    settings = {"horizon": steps, "execution_horizon": steps, "iterations": iterations}
    assert optimizer_for(steps, action_dim, **settings) == "DiagonalCMA"


def test_the_fall_back_replaces_what_ngopt_would_have_chosen():
    ng = _nevergrad()
    chosen = ng.optimizers.registry["NGOpt"](ng.p.Array(shape=(3, 7)), budget=4500, num_workers=300)
    assert chosen.optim.name == "MetaModel"


def test_first_candidates_have_the_initial_deviation_and_the_answer_is_float64():
    seen = []
    found = plan(lambda a: seen.append(a) or norm_cost(a), num_samples=400, iterations=1, init_std=0.3)
    assert seen[0].dtype == torch.float32 and abs(float(seen[0].std()) - 0.3) < 0.01
    assert found.mean.dtype == torch.float64


def test_the_best_candidate_scored_can_be_the_answer():
    seen = []
    found = plan(lambda a: seen.append(a) or norm_cost(a), answer="best")
    candidates = torch.cat(seen, dim=1)[0]
    assert torch.equal(found.mean[0].float(), candidates[norm_cost(candidates[None])[0].argmin()])


def test_a_candidate_without_a_finite_cost_is_told_as_worse_than_all_others(monkeypatch):
    told = []
    search = _Search(Nevergrad(**SMALL), np.zeros((3, 2)), BITS)
    search.ask(4)
    monkeypatch.setattr(search._optimizer, "tell", lambda candidate, value: told.append(value))
    search.tell(np.array([1.0, np.nan, 3e7, -np.inf]))
    assert told == [1.0, 3e7, 3e7, 3e7]
    search.tell(np.array([1.0, np.inf, 2.0, 0.5]))
    assert told[4:] == [1.0, 1e6, 2.0, 0.5]


@pytest.mark.parametrize(
    "optimizer", ["NGOpt", "NgIohTuned", "CMA", "PSO", "TwoPointsDE", "OnePlusOne", "RandomSearch"]
)
def test_the_callers_global_generator_neither_matters_nor_changes(optimizer):
    found, callers = [], np.random.get_state()
    for seed in (1, 2):
        state = np.random.RandomState(seed).get_state()
        np.random.set_state(state)
        found.append(plan(norm_cost, optimizer=optimizer).mean)
        assert all(np.array_equal(one, other) for one, other in zip(np.random.get_state(), state, strict=True))
    np.random.set_state(callers)
    assert torch.equal(*found)
    assert not torch.equal(found[0], plan(norm_cost, optimizer=optimizer, episode=1).mean)


def test_an_optimizer_that_draws_globally_is_given_numbers_of_its_episode(monkeypatch):
    class DrawsGlobally:
        def __init__(self, space, budget, num_workers):
            self.space = space

        def ask(self):
            return self.space.spawn_child(new_value=np.random.normal(size=(3, 2)))

        def tell(self, candidate, value):
            pass

        recommend = ask

    monkeypatch.setitem(_nevergrad().optimizers.registry, "DrawsGlobally", DrawsGlobally)
    found, callers = [], np.random.get_state()
    for seed in (1, 2):
        np.random.seed(seed)
        found.append(plan(norm_cost, optimizer="DrawsGlobally").mean)
    np.random.set_state(callers)
    assert torch.equal(*found)
    assert not torch.equal(found[0], plan(norm_cost, optimizer="DrawsGlobally", episode=1).mean)


def test_an_unknown_optimizer_is_refused_with_the_nearest_names():
    with pytest.raises(ConfigError, match=r"Unknown nevergrad optimizer 'NGopt'\. Did you mean .*NGOpt"):
        make_planner("nevergrad", optimizer="NGopt")


def test_a_missing_package_is_answered_with_what_to_install(monkeypatch):
    real = builtins.__import__

    def fail(name, *args, **kwargs):
        if name == "nevergrad":
            raise ModuleNotFoundError("No module named 'nevergrad'", name="nevergrad")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(ConfigError, match="needs package 'nevergrad', which is not installed; run `pip install"):
        make_planner("nevergrad")
