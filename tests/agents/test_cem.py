"""CEM on problems whose answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError, PlanningError
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.elites import lowest
from jepawm_agents.planners.noise import EpisodeNoise
from jepawm_agents.planners.registry import PLANNERS

every_planner = pytest.mark.parametrize("name", list(PLANNERS))
SMALL = {"horizon": 3, "num_samples": 64, "iterations": 6, "num_elites": 8, "execution_horizon": 2}


def noise(*episodes: int, seed: int = 0, replan: int = 0) -> EpisodeNoise:
    return EpisodeNoise([(seed, episode) for episode in episodes], replan)


def norm_cost(actions: Tensor) -> Tensor:
    return actions.square().sum(dim=(2, 3))


class LinearQuadratic:
    """x' = A x + B u; cost |x_H - goal|^2 + weight * sum |u|^2, with its optimum by least squares."""

    def __init__(self, seed: int, horizon: int = 3, states: int = 3, actions: int = 2, weight: float = 0.5):
        random = np.random.default_rng(seed)
        self.a, self.b = random.normal(0, 0.5, (states, states)), random.normal(0, 0.7, (states, actions))
        self.start, self.goal = random.normal(size=states), random.normal(size=states)
        self.horizon, self.weight = horizon, weight

    def cost(self, actions: Tensor) -> Tensor:
        x = torch.from_numpy(self.start).expand(*actions.shape[:2], -1)
        a, b = torch.from_numpy(self.a.T), torch.from_numpy(self.b.T)
        for action in actions.double().unbind(dim=2):
            x = x @ a + action @ b
        effort = actions.double().square().sum(dim=(2, 3))
        return ((x - torch.from_numpy(self.goal)).square().sum(dim=-1) + self.weight * effort).float()

    def optimum(self) -> np.ndarray:
        powers = [np.linalg.matrix_power(self.a, self.horizon - 1 - t) @ self.b for t in range(self.horizon)]
        reach = np.concatenate(powers, axis=1)
        free = np.linalg.matrix_power(self.a, self.horizon) @ self.start
        rows = np.concatenate([reach, np.sqrt(self.weight) * np.eye(reach.shape[1])])
        target = np.concatenate([self.goal - free, np.zeros(reach.shape[1])])
        return np.linalg.lstsq(rows, target, rcond=None)[0].reshape(self.horizon, -1)


@pytest.mark.parametrize("seed", range(5))
def test_cem_reaches_the_optimum_of_a_linear_quadratic_problem(seed):
    problem = LinearQuadratic(seed)
    planner = make_planner("cem", horizon=3, num_samples=1000, iterations=30, num_elites=100, execution_horizon=3)
    plan = planner.plan(problem.cost, batch=1, action_dim=2, noise=noise(0))
    best = torch.from_numpy(problem.optimum()[None, None])
    np.testing.assert_allclose(plan.mean[0], problem.optimum(), atol=2e-3)
    assert float(problem.cost(plan.mean[:, None])) <= float(problem.cost(best)) + 1e-5


@every_planner
def test_a_batch_of_episodes_equals_single_plans_bit_for_bit(name):
    problems = {episode: LinearQuadratic(episode) for episode in (4, 0, 7)}
    planner = make_planner(name, **SMALL)

    def cost_of(*episodes: int):
        return lambda actions: torch.cat([problems[e].cost(a) for e, a in zip(episodes, actions.split(1), strict=True)])

    together = planner.plan(cost_of(4, 0, 7), batch=3, action_dim=2, noise=noise(4, 0, 7))
    for row, episode in enumerate((4, 0, 7)):
        alone = planner.plan(cost_of(episode), batch=1, action_dim=2, noise=noise(episode))
        for one, all_of_them in zip((*alone[:2], *alone.trace), (*together[:2], *together.trace), strict=True):
            assert torch.equal(one[0], all_of_them[row])


@every_planner
def test_planning_twice_gives_the_same_plan_and_another_replan_another_one(name):
    planner = make_planner(name, **SMALL)

    def mean(**key: int) -> Tensor:
        return planner.plan(norm_cost, batch=1, action_dim=2, noise=noise(0, **key)).mean

    assert torch.equal(mean(), mean())
    assert not torch.equal(mean(), mean(replan=1))
    assert not torch.equal(mean(), mean(seed=1))


@every_planner
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_candidates_without_a_finite_cost_never_win(name, bad):
    def cost(actions: Tensor) -> Tensor:  # half of the plane is forbidden, and it is where the cost falls
        first = actions[:, :, 0, 0]
        return torch.where(first > 0, bad, first)

    plan = make_planner(name, **{**SMALL, "iterations": 4}).plan(cost, batch=1, action_dim=2, noise=noise(0))
    assert torch.isfinite(plan.trace.best).all() and torch.isfinite(plan.trace.elite_mean).all()
    assert float(plan.mean[0, 0, 0]) < 0


@every_planner
def test_a_world_model_that_answers_no_numbers_is_reported_not_followed(name):
    def cost(actions: Tensor) -> Tensor:
        costs = norm_cost(actions)
        costs[1] = float("nan")
        return costs

    with pytest.raises(PlanningError, match="iteration 0 of planning episode 1 of the batch"):
        make_planner(name, **SMALL).plan(cost, batch=2, action_dim=2, noise=noise(0, 1))


def test_ties_go_to_the_earlier_candidate():
    costs = torch.tensor([[2.0, 1.0, 2.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    values, index = lowest(costs, 4)
    assert index.tolist() == [[1, 3, 4, 0], [0, 1, 2, 3]]
    assert values.tolist() == [[1.0, 1.0, 1.0, 2.0], [0.0] * 4]


def test_numbers_however_large_win_against_what_is_none():
    costs = torch.tensor([[float("nan"), 1e30, float("-inf"), -1e30, float("inf")]])
    assert lowest(costs, 2)[1].tolist() == [[3, 1]]


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
        ({"init_std": 0.0}, "init_std=0.0 is not possible; it must be positive"),
        ({"momentum_mean": 1.0}, "momentum_mean=1.0 is not possible; it must be at least 0 and below 1"),
        ({"momentum_std": -0.1}, "momentum_std=-0.1 is not possible"),
        ({"num_samples": "many"}, "num_samples='many' is not possible; it must be a whole number"),
        ({"horizon": 2.5}, "horizon=2.5 is not possible; it must be a whole number"),
        ({"iterations": True}, "iterations=True is not possible; it must be a whole number"),
        ({"init_std": "wide"}, "init_std='wide' is not possible; it must be a number"),
    ],
)
def test_impossible_settings_are_refused_with_the_rule(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_planner("cem", **{**SMALL, **settings})


def test_unknown_planners_and_settings_are_refused_with_the_nearest_names():
    with pytest.raises(ConfigError, match=r"Unknown planner 'cme'\. Did you mean cem\?"):
        make_planner("cme")
    with pytest.raises(ConfigError, match=r"Unknown setting of planner cem 'num_sample'\. Did you mean num_samples"):
        make_planner("cem", num_sample=3)


def test_a_whole_number_is_taken_where_a_fraction_is_expected():
    assert make_planner("cem", **SMALL, init_std=1) == make_planner("cem", **SMALL, init_std=1.0)


@every_planner
def test_settings_cannot_be_changed_afterwards(name):
    planner = make_planner(name, **SMALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        planner.horizon = 9  # type: ignore[misc,attr-defined]
