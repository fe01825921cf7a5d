"""What holds for every planner: optima, budgets, batches, costs that are no numbers, warm starts."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError, PlanningError
from jepawm_agents.planners import list_planners, make_planner
from jepawm_agents.planners.noise import EpisodeNoise
from jepawm_agents.planners.registry import PLANNERS

every_planner = pytest.mark.parametrize("name", list(PLANNERS))
SMALL = {"horizon": 3, "num_samples": 64, "iterations": 6, "num_elites": 8, "execution_horizon": 2}
GRADIENT = ("gd", "adam")
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in PLANNERS),
    ("cem", {"bounds": {1: 0.3}, "max_evaluations": 150}),
    ("mppi", {"answer": "elite", "exploration": 1.0}),
    ("mppi", {"refit_std": False, "num_elites": 64, "max_evaluations": 150}),
    ("icem", {"noise_beta": 0.5, "max_evaluations": 150}),
    ("nevergrad", {"optimizer": "CMA", "answer": "best", "bounds": {0: 0.2}}),
    ("nevergrad", {"optimizer": "PSO", "max_evaluations": 150}),
    ("gd", {"init": "zero", "answer": "best", "lr": 0.01}),
    ("adam", {"bounds": {1: 0.3}, "max_evaluations": 400}),
]
every_variant = pytest.mark.parametrize(("name", "settings"), VARIANTS)


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

    def gap(self, sequence: Tensor) -> float:
        """How much more than the optimum a sequence (1, H, A) costs."""
        return float(self.cost(sequence[:, None])) - float(self.cost(torch.from_numpy(self.optimum()[None, None])))


# Settings under which a planner is to come this close to the optimum; costs at zero actions are 0.1 to 7 above it.
TO_THE_OPTIMUM = {
    "cem": ({"num_samples": 1000, "num_elites": 100}, 1e-5),
    "mppi": ({"num_samples": 1000, "num_elites": 100, "temperature": 5.0}, 1e-4),
    "icem": ({}, 1e-4),  # with a fifth of the evaluations of the published CEM
    "random_shooting": ({"horizon": 1, "execution_horizon": 1}, 0.01),
    "nevergrad": ({"num_samples": 100, "iterations": 20}, 0.02),
    "gd": ({"lr": 0.015}, 1e-3),
    "adam": ({}, 1e-3),
}


@every_planner
@pytest.mark.parametrize("seed", range(5))
def test_every_planner_comes_near_the_optimum_of_a_linear_quadratic_problem(name, seed):
    settings, tolerance = TO_THE_OPTIMUM[name]
    planner = make_planner(name, **{"horizon": 3, "execution_horizon": 3, **settings})
    problem = LinearQuadratic(seed, horizon=settings.get("horizon", 3))
    plan = planner.plan(problem.cost, batch=1, action_dim=2, noise=noise(0))
    assert -1e-5 <= problem.gap(plan.mean) <= tolerance


def test_cem_finds_the_optimal_actions_too():
    problem = LinearQuadratic(0)
    planner = make_planner("cem", horizon=3, num_samples=1000, iterations=30, num_elites=100, execution_horizon=3)
    plan = planner.plan(problem.cost, batch=1, action_dim=2, noise=noise(0))
    np.testing.assert_allclose(plan.mean[0], problem.optimum(), atol=2e-3)


@every_planner
def test_more_evaluations_bring_every_planner_nearer_to_the_optimum_on_average(name):
    settings = {"lr": 0.015} if name == "gd" else {}
    settings |= {"num_samples": 4, "iterations": 1000} if name in GRADIENT else {"num_samples": 40}
    gaps = []
    for budget in (80, 320, 1280):
        planner = make_planner(
            name, **{"horizon": 3, "execution_horizon": 3, "iterations": 32, **settings}, max_evaluations=budget
        )
        problems = [LinearQuadratic(seed) for seed in range(6)]
        plans = [planner.plan(problem.cost, batch=1, action_dim=2, noise=noise(0)) for problem in problems]
        gaps.append(np.mean([problem.gap(plan.mean) for problem, plan in zip(problems, plans, strict=True)]))
    assert gaps[0] > gaps[1] > gaps[2]


@every_variant
def test_a_batch_of_episodes_equals_single_plans_bit_for_bit(name, settings):
    problems = {episode: LinearQuadratic(episode) for episode in (4, 0, 7)}
    slow = {"lr": 0.02} if name in GRADIENT else {}  # the steepest of these problems diverges at a rate of 1
    planner = make_planner(name, **{**SMALL, "warm_start": True, **slow, **settings})

    def cost_of(*episodes: int) -> Callable[[Tensor], Tensor]:
        return lambda actions: torch.cat([problems[e].cost(a) for e, a in zip(episodes, actions.split(1), strict=True)])

    def plans(*episodes: int) -> list[Tensor]:
        cost, batch, source = cost_of(*episodes), len(episodes), noise(*episodes, replan=1)
        first = planner.plan(cost, batch=batch, action_dim=2, noise=noise(*episodes))
        again = planner.plan(cost, batch=batch, action_dim=2, noise=source, previous=first)
        return [value for plan in (first, again) for value in (*plan[:2], *plan.trace)]

    together = plans(4, 0, 7)
    for row, episode in enumerate((4, 0, 7)):
        for one, all_of_them in zip(plans(episode), together, strict=True):
            assert torch.equal(one[0], all_of_them[row])


@every_variant
def test_planning_twice_gives_the_same_plan_and_another_replan_another_one(name, settings):
    planner = make_planner(name, **{**SMALL, **settings})
    if settings.get("init") == "zero":
        return  # its noise is tested by the golden test and the one of action noise

    def mean(**key: int) -> Tensor:
        return planner.plan(lambda a: norm_cost(a - 0.1), batch=1, action_dim=2, noise=noise(0, **key)).mean

    assert torch.equal(mean(), mean())
    assert not torch.equal(mean(), mean(replan=1))
    assert not torch.equal(mean(), mean(seed=1))


@every_variant
def test_a_plan_touches_no_global_generator(name, settings):
    planner, numpy_state, torch_state = make_planner(name, **SMALL), np.random.get_state(), torch.get_rng_state()
    planner.plan(norm_cost, batch=1, action_dim=2, noise=noise(0))
    assert all(np.array_equal(one, other) for one, other in zip(np.random.get_state(), numpy_state, strict=True))
    assert torch.equal(torch.get_rng_state(), torch_state)


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
def test_one_candidate_of_finite_cost_an_iteration_is_enough(name):
    calls = []

    def cost(actions: Tensor) -> Tensor:
        calls.append(actions.detach().clone())
        costs = norm_cost(actions - 1)
        return torch.where(torch.arange(costs.shape[1]) == 2, costs, float("nan"))

    plan = make_planner(name, **{**SMALL, "iterations": 1}).plan(cost, batch=1, action_dim=2, noise=noise(0))
    expected = norm_cost(calls[0][:, 2:3] - 1)
    assert torch.equal(plan.trace.best, expected) and torch.allclose(plan.trace.elite_mean, expected)


@every_planner
def test_a_world_model_that_answers_no_numbers_is_reported_not_followed(name):
    def cost(actions: Tensor) -> Tensor:
        costs = norm_cost(actions)
        costs[1] = float("nan")
        return costs

    with pytest.raises(PlanningError, match="iteration 0 of planning episode 1 of the batch"):
        make_planner(name, **SMALL).plan(cost, batch=2, action_dim=2, noise=noise(0, 1))


@every_variant
def test_bounds_hold_for_every_candidate_and_for_the_plan(name, settings):
    largest = []

    def cost(actions: Tensor) -> Tensor:
        largest.append(actions.detach().abs().amax(dim=(0, 1, 2)))
        return -actions.sum(dim=(2, 3))

    bounded = {**SMALL, **settings, "bounds": {1: 0.25}} | ({"lr": 1.0} if name in GRADIENT else {})
    plan = make_planner(name, **bounded).plan(cost, batch=1, action_dim=3, noise=noise(0))
    limits = torch.stack(largest).amax(dim=0)
    assert limits[1] <= 0.25 and limits[0] > limits[1] and limits[2] > limits[1]
    assert (plan.mean[..., 1].abs() <= 0.25).all() and (plan.actions[..., 1].abs() <= 0.25).all()


@every_variant
def test_one_bound_is_that_of_every_dimension(name, settings):
    one, each = (
        make_planner(name, **{**SMALL, **settings, "bounds": bounds}).plan(
            norm_cost, batch=2, action_dim=3, noise=noise(0, 1)
        )
        for bounds in (0.25, dict.fromkeys(range(3), 0.25))
    )
    torch.testing.assert_close(one.actions, each.actions, rtol=0, atol=0)
    assert one.actions.abs().max() <= 0.25


@every_variant
def test_evaluations_count_every_scored_candidate_and_keep_to_their_limit(name, settings):
    sizes = []
    planner = make_planner(name, **{**SMALL, **settings})
    plan = planner.plan(
        lambda a: sizes.append(a.shape[1]) or norm_cost(a), batch=1, action_dim=2, noise=noise(0)
    )  # fmt: skip
    scored = sum(sizes) * (2 if name in GRADIENT else 1)  # a gradient step is a way forward and one back
    assert plan.evaluations == planner.evaluations == scored <= settings.get("max_evaluations", 10**9)
    assert len(sizes) == planner.trace_length == plan.trace.best.shape[1]


@pytest.mark.parametrize("name", ["cem", "mppi", "random_shooting", "nevergrad"])
def test_a_limit_on_evaluations_leaves_out_iterations_and_cuts_the_last_one_short(name):
    sizes = []
    planner = make_planner(name, **SMALL, max_evaluations=150)
    plan = planner.plan(lambda a: sizes.append(a.shape[1]) or norm_cost(a), batch=1, action_dim=2, noise=noise(0))
    assert sizes == [64, 64, 22] and torch.isfinite(torch.stack(plan.trace)).all()
    assert make_planner(name, **SMALL, max_evaluations=10**6).evaluations == 64 * 6


@every_planner
def test_a_search_without_time_makes_one_iteration(name):
    planner = make_planner(name, **SMALL, max_seconds=1e-9)
    plan = planner.plan(norm_cost, batch=1, action_dim=2, noise=noise(0))
    assert plan.evaluations * 6 <= planner.evaluations + 6 * 64 and plan.trace.best.shape == (1, 6)
    assert torch.isfinite(plan.trace.best[:, 0]).all() and plan.trace.best[:, 1:].isnan().all()
    assert torch.isfinite(plan.mean).all()


@pytest.mark.parametrize("name", [name for name in PLANNERS if name != "nevergrad"])
def test_no_iteration_waits_for_the_device(name, monkeypatch):
    waits = []
    for method in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "nonzero"):
        real = getattr(Tensor, method)
        monkeypatch.setattr(Tensor, method, lambda self, *a, m=method, r=real: waits.append(m) or r(self, *a))
    if name == "adam":  # its step counter is a tensor on the CPU
        monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)
    make_planner(name, **SMALL).plan(norm_cost, batch=1, action_dim=2, noise=noise(0))
    assert waits == ["nonzero"]  # once a plan, to refuse a search without finite costs


@every_planner
@pytest.mark.parametrize(("horizon", "planned"), [(None, 3), (2, 2), (1, 1), (9, 3)])
def test_a_shorter_horizon_serves_the_end_of_an_episode_and_a_longer_one_changes_nothing(name, horizon, planned):
    planner = make_planner(name, **{**SMALL, "iterations": 2})
    plan = planner.plan(norm_cost, batch=1, action_dim=2, noise=noise(0), horizon=horizon)
    assert plan.mean.shape == (1, planned, 2)
    assert torch.equal(plan.actions, plan.mean[:, :2])


# A warm start continues with what is left of the previous plan: here its third step, followed by nothing known.


def previous_plan(name: str, **settings: Any):
    planner = make_planner(name, **{**SMALL, "execution_horizon": 2, "init_std": 1e-6, **settings})
    sequence = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    plan = planner.plan(norm_cost, batch=1, action_dim=2, noise=noise(0))
    return planner, plan._replace(actions=sequence[:, :2], mean=sequence, elites=sequence[:, None].repeat(1, 8, 1, 1))


def first_candidates(planner: Any, **how: Any) -> Tensor:
    seen = []
    planner.plan(
        lambda a: seen.append(a.detach().clone()) or norm_cost(a),
        batch=1,
        action_dim=2,
        noise=noise(0, replan=1),
        **how,
    )
    return seen[0]


@every_planner
def test_a_warm_start_begins_around_the_previous_plan_shifted_by_what_was_executed(name):
    planner, previous = previous_plan(name, warm_start=True)
    expected = torch.tensor([[5.0, 6.0], [0.0, 0.0], [0.0, 0.0]])
    candidates = first_candidates(planner, previous=previous)[0]
    torch.testing.assert_close(candidates[0], expected, atol=1e-4, rtol=0)
    if name not in GRADIENT:  # there only one of the starts is the old plan
        torch.testing.assert_close(candidates, expected.expand_as(candidates), atol=1e-4, rtol=0)


@every_planner
def test_without_a_warm_start_the_previous_plan_changes_nothing(name):
    planner, previous = previous_plan(name, warm_start=False)
    assert torch.equal(first_candidates(planner, previous=previous), first_candidates(planner))


@every_planner
def test_a_previous_plan_of_other_episodes_is_refused(name):
    planner, previous = previous_plan(name, warm_start=True)
    with pytest.raises(ValueError, match="The previous plan is of 1 episodes with 2 action numbers, this one of 2"):
        planner.plan(norm_cost, batch=2, action_dim=2, noise=noise(0, 1), previous=previous)


@every_planner
def test_an_unknown_setting_is_refused_with_the_nearest_name(name):
    with pytest.raises(
        ConfigError, match=rf"Unknown setting of planner {name} 'num_sample'\. Did you mean num_samples"
    ):
        make_planner(name, num_sample=3)


def test_an_unknown_planner_is_refused_with_the_nearest_names():
    with pytest.raises(ConfigError, match=r"Unknown planner 'cme'\. Did you mean cem"):
        make_planner("cme")


@every_planner
def test_settings_cannot_be_changed_afterwards(name):
    planner = make_planner(name, **SMALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        planner.horizon = 9  # type: ignore[misc,attr-defined]


def test_the_table_of_planners_has_the_names_of_the_contract_and_needs_no_torch():
    names = {"cem", "mppi", "nevergrad", "gd", "adam", "random_shooting", "icem"}
    assert {row["name"] for row in list_planners()} == names and all(row["summary"] for row in list_planners())
    code = "import sys; from jepawm_agents import planners; planners.list_planners(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
