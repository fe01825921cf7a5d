"""CEM on problems whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.elites import lowest
from jepawm_agents.planners.noise import EpisodeNoise

SMALL = {"horizon": 3, "num_samples": 64, "iterations": 6, "num_elites": 8, "execution_horizon": 2}


def noise(*episodes: int, seed: int = 0, replan: int = 0) -> EpisodeNoise:
    return EpisodeNoise([(seed, episode) for episode in episodes], replan)


def norm_cost(actions: Tensor) -> Tensor:
    return actions.square().sum(dim=(2, 3))


def test_ties_go_to_the_earlier_candidate():
    costs = torch.tensor([[2.0, 1.0, 2.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    values, index = lowest(costs, 4)
    assert index.tolist() == [[1, 3, 4, 0], [0, 1, 2, 3]]
    assert values.tolist() == [[1.0, 1.0, 1.0, 2.0], [0.0] * 4]


def test_numbers_however_large_win_against_what_is_none():
    costs = torch.tensor([[float("nan"), 1e30, float("-inf"), -1e30, float("inf")]])
    assert lowest(costs, 2)[1].tolist() == [[3, 1]]


def test_the_cheapest_stands_in_where_fewer_candidates_than_elites_have_a_finite_cost():
    costs = torch.tensor([[float("nan"), 2.0, float("inf"), 1.0]])
    values, index = lowest(costs, 3)
    assert values.tolist() == [[1.0, 2.0, 1.0]] and index.tolist() == [[3, 1, 3]]


@pytest.mark.parametrize(("candidates", "elites"), [(5, 5), (64, 10)])
def test_elites_are_the_published_ten_or_all_of_fewer_candidates(candidates, elites):
    common = {"horizon": 3, "iterations": 6, "execution_horizon": 2, "num_samples": candidates}
    planners = make_planner("cem", **common), make_planner("cem", **common, num_elites=elites)
    unsaid, said = (planner.plan(norm_cost, batch=1, action_dim=2, noise=noise(0)) for planner in planners)
    assert torch.equal(unsaid.mean, said.mean)


def test_a_partial_last_iteration_has_as_large_a_share_of_elites_as_a_whole_one():
    seen = []
    planner = make_planner("cem", **SMALL, max_evaluations=64 + 16)
    plan = planner.plan(lambda a: seen.append(a) or norm_cost(a), batch=1, action_dim=2, noise=noise(0))
    best = norm_cost(seen[1])[0].argsort()[:2]  # 8 of 64, so 2 of 16
    torch.testing.assert_close(plan.mean[0], seen[1][0, best].mean(dim=0))
    torch.testing.assert_close(plan.trace.elite_mean[0, 1], norm_cost(seen[1])[0, best].mean())


def test_when_actions_do_not_matter_the_plan_is_the_mean_of_the_first_candidates():
    planner = make_planner("cem", **{**SMALL, "iterations": 1})
    plan = planner.plan(lambda actions: torch.full(actions.shape[:2], 3.0), batch=1, action_dim=2, noise=noise(0))
    first = noise(0).normal(0, (1, 64, 3, 2))[:, :8].clone()
    first[:, 0] = 0.0  # the mean itself is the first candidate
    torch.testing.assert_close(plan.mean, first.mean(dim=1))
    assert plan.trace.best.tolist() == [[3.0]] and plan.trace.elite_std.tolist() == [[0.0]]


def test_the_next_candidates_spread_by_the_unbiased_deviation_of_the_elites():
    seen = []
    planner = make_planner("cem", **{**SMALL, "iterations": 2})
    planner.plan(lambda actions: seen.append(actions) or norm_cost(actions), batch=1, action_dim=2, noise=noise(0))
    elites = seen[0][0][norm_cost(seen[0])[0].argsort()[:8]]
    spread = (seen[1][0, 1:] - elites.mean(dim=0)) / noise(0).normal(1, (1, 64, 3, 2))[0, 1:]
    expected = torch.from_numpy(np.std(elites.numpy(), axis=0, ddof=1)).expand_as(spread)
    torch.testing.assert_close(spread, expected, rtol=1e-3, atol=1e-3)


def test_the_mean_takes_part_so_the_best_cost_never_rises_above_it():
    seen = []

    def cost(actions: Tensor) -> Tensor:
        seen.append(actions[:, 0].clone())
        return norm_cost(actions - 0.5)

    plan = make_planner("cem", **SMALL).plan(cost, batch=1, action_dim=2, noise=noise(0))
    assert (seen[0] == 0).all()
    of_means = torch.cat([norm_cost(mean[:, None] - 0.5) for mean in seen], dim=1)
    assert (plan.trace.best <= of_means).all()


def test_the_trace_has_one_entry_an_iteration_and_a_falling_cost():
    plan = make_planner("cem", **SMALL).plan(
        lambda actions: norm_cost(actions - 1), batch=2, action_dim=2, noise=noise(0, 1)
    )
    for values in plan.trace:
        assert values.shape == (2, 6)
    assert (plan.trace.best[:, -1] < 0.2 * plan.trace.best[:, 0]).all()
    assert (plan.trace.best <= plan.trace.elite_mean).all()


def test_bounds_hold_for_every_candidate_and_for_the_plan():
    largest = []

    def cost(actions: Tensor) -> Tensor:
        largest.append(actions.abs().amax(dim=(0, 1, 2)))
        return -actions.sum(dim=(2, 3))

    planner = make_planner("cem", **SMALL, bounds={1: 0.25})
    plan = planner.plan(cost, batch=1, action_dim=3, noise=noise(0))
    limits = torch.stack(largest).amax(dim=0)
    assert limits[1] == 0.25 and limits[0] > 1 and limits[2] > 1
    assert (plan.mean[..., 1].abs() <= 0.25).all()


def test_a_bound_on_a_missing_dimension_is_refused():
    planner = make_planner("cem", **SMALL, bounds={5: 0.25})
    with pytest.raises(ConfigError, match="A bound is set for action dimension 5, but there are 2"):
        planner.plan(norm_cost, batch=1, action_dim=2, noise=noise(0))


@pytest.mark.parametrize(("horizon", "planned"), [(None, 3), (2, 2), (1, 1), (9, 3)])
def test_a_shorter_horizon_serves_the_end_of_an_episode_and_a_longer_one_changes_nothing(horizon, planned):
    plan = make_planner("cem", **SMALL).plan(norm_cost, batch=1, action_dim=2, noise=noise(0), horizon=horizon)
    assert plan.mean.shape == (1, planned, 2)
    assert torch.equal(plan.actions, plan.mean[:, :2])


def test_evaluations_count_every_scored_candidate():
    scored = []
    planner = make_planner("cem", **SMALL)
    planner.plan(lambda a: scored.append(a.shape[1]) or norm_cost(a), batch=1, action_dim=2, noise=noise(0))
    assert planner.evaluations == sum(scored) == 64 * 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 0}, "horizon=0 is not possible; it must be at least 1"),
        ({"execution_horizon": 4}, "execution_horizon=4 is not possible; it must be 1 to horizon"),
        ({"execution_horizon": 0}, "execution_horizon=0 is not possible"),
        ({"iterations": 0}, "iterations=0 is not possible; it must be at least 1"),
        ({"num_elites": 1}, "num_elites=1 is not possible; it must be 2 to 64"),
        ({"num_elites": 65}, "num_elites=65 is not possible; it must be 2 to 64"),
        ({"num_samples": 1}, "num_samples=1 is not possible; it must be at least 2"),
        ({"init_std": 0.0}, "init_std=0.0 is not possible; it must be positive"),
        ({"momentum_mean": 1.0}, "momentum_mean=1.0 is not possible; it must be at least 0 and below 1"),
        ({"momentum_std": -0.1}, "momentum_std=-0.1 is not possible"),
        ({"num_samples": "many"}, "num_samples='many' is not possible; it must be a whole number"),
        ({"horizon": 2.5}, "horizon=2.5 is not possible; it must be a whole number"),
        ({"iterations": True}, "iterations=True is not possible; it must be a whole number"),
        ({"init_std": "wide"}, "init_std='wide' is not possible; it must be a number"),
        ({"warm_start": 1}, "warm_start=1 is not possible; it must be true or false"),
        ({"max_evaluations": 0}, "max_evaluations=0 is not possible; it must be at least 1"),
        ({"max_evaluations": 1.5}, "max_evaluations=1.5 is not possible; it must be a whole number"),
        ({"max_seconds": 0}, "max_seconds=0 is not possible; it must be positive"),
    ],
)
def test_impossible_settings_are_refused_with_the_rule(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_planner("cem", **{**SMALL, **settings})


def test_a_whole_number_is_taken_where_a_fraction_is_expected():
    assert make_planner("cem", **SMALL, init_std=1) == make_planner("cem", **SMALL, init_std=1.0)
