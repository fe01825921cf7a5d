"""MPPI against weights computed by hand and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.noise import EpisodeNoise

SMALL = {"horizon": 2, "num_samples": 16, "iterations": 1, "num_elites": 4, "execution_horizon": 2}


def noise(*episodes: int) -> EpisodeNoise:
    return EpisodeNoise([(0, episode) for episode in episodes], 0)


def norm_cost(actions: Tensor) -> Tensor:
    return (actions - 0.5).square().sum(dim=(2, 3))


def plan_and_candidates(cost=norm_cost, *, episodes: int = 1, **settings):
    seen = []
    plan = make_planner("mppi", **{**SMALL, **settings}).plan(
        lambda actions: seen.append(actions) or cost(actions),
        batch=episodes,
        action_dim=2,
        noise=noise(*range(episodes)),
    )
    return plan, seen


def test_with_one_elite_it_answers_with_the_best_sample():
    plan, seen = plan_and_candidates(num_elites=1)
    assert torch.equal(plan.mean, seen[0][:, norm_cost(seen[0])[0].argmin()])


def test_at_temperature_zero_all_elites_weigh_the_same():
    plan, seen = plan_and_candidates(temperature=0.0)
    best = norm_cost(seen[0])[0].argsort()[:4]
    torch.testing.assert_close(plan.mean[0], seen[0][0, best].mean(dim=0))


def test_elites_weigh_by_the_exponent_of_their_cost_gap_and_so_does_the_deviation():
    _, seen = plan_and_candidates(temperature=3.0, iterations=2, init_std=2.0)
    first, costs = seen[0][0].numpy(), norm_cost(seen[0])[0].numpy()
    best = costs.argsort()[:4]
    weights = np.exp(3.0 * (costs[best[0]] - costs[best]))
    mean = np.average(first[best], axis=0, weights=weights)
    std = np.sqrt(np.average((first[best] - mean) ** 2, axis=0, weights=weights))
    eps = noise(0).normal(1, (1, 16, 2, 2))[0].numpy()
    np.testing.assert_allclose(seen[1][0], mean + std * eps, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first, 2.0 * noise(0).normal(0, (1, 16, 2, 2))[0].numpy(), rtol=1e-6)


def test_the_original_flavour_weighs_all_candidates_and_keeps_its_deviation():
    _, seen = plan_and_candidates(num_elites=16, refit_std=False, iterations=2, temperature=2.0)
    costs = norm_cost(seen[0])[0].numpy().astype(float)
    mean = np.average(seen[0][0].numpy(), axis=0, weights=np.exp(-2.0 * (costs - costs.min())))
    np.testing.assert_allclose(seen[1][0], mean + noise(0).normal(1, (1, 16, 2, 2))[0].numpy(), rtol=1e-4, atol=1e-5)


def test_an_answer_that_is_an_elite_is_drawn_by_weight():
    # Two elites whose costs differ by 1: at temperature log 3 the better one is drawn in three of four episodes.
    def cost(actions: Tensor) -> Tensor:
        return torch.arange(actions.shape[1]).expand(actions.shape[:2]).to(actions)

    episodes = 2000
    settings = {"answer": "elite", "num_elites": 2, "num_samples": 4, "temperature": float(np.log(3))}
    plan, seen = plan_and_candidates(cost, episodes=episodes, **settings)
    better = (plan.mean == seen[0][:, 0]).all(dim=(1, 2))
    worse = (plan.mean == seen[0][:, 1]).all(dim=(1, 2))
    assert (better ^ worse).all()
    assert abs(float(better.float().mean()) - 0.75) < 4 * np.sqrt(0.75 * 0.25 / episodes)


def test_exploration_adds_one_draw_of_the_last_deviation_to_all_steps():
    quiet, seen = plan_and_candidates()
    loud, _ = plan_and_candidates(exploration=2.0)
    best = norm_cost(seen[0])[0].argsort()[:4]
    weights = torch.softmax(-0.5 * norm_cost(seen[0])[0, best], dim=0)[:, None, None]
    std = (weights * (seen[0][0, best] - quiet.mean[0]).square()).sum(dim=0).sqrt()
    draw = (loud.mean[0] - quiet.mean[0]) / (2.0 * std)
    torch.testing.assert_close(draw[0], draw[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature=-1.0 is not possible; it must be at least 0"),
        ({"answer": "elites"}, r"Unknown value of planner setting answer 'elites'\. Did you mean elite"),
        ({"refit_std": 0}, "refit_std=0 is not possible; it must be true or false"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_planner("mppi", **settings)
