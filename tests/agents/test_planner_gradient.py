"""Gradient planners against closed forms and torch itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from jepawm_agents.errors import ConfigError, PlanningError
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.noise import EpisodeNoise

QUIET = {"horizon": 3, "execution_horizon": 3, "action_noise": 0.0}
gradient_planners = pytest.mark.parametrize("name", ["gd", "adam"])


def noise() -> EpisodeNoise:
    return EpisodeNoise([(0, 0)], 0)


def norm_cost(actions: Tensor) -> Tensor:
    return actions.square().sum(dim=(2, 3))


def plan(name: str, cost=norm_cost, **settings):
    return make_planner(name, **{**QUIET, **settings}).plan(cost, batch=1, action_dim=2, noise=noise())


def start(count: int = 1) -> Tensor:
    return noise().normal(0, (1, count, 3, 2))


def test_descent_on_a_square_shrinks_by_the_same_factor_every_step():
    found = plan("gd", iterations=10, lr=0.1)
    torch.testing.assert_close(found.mean, start()[:, 0] * 0.8**10)
    torch.testing.assert_close(found.trace.best[0], norm_cost(start())[0, 0] * 0.64 ** torch.arange(10))


def test_starts_descend_independently_and_the_cheapest_is_the_answer():
    found = plan("gd", iterations=10, lr=0.1, num_samples=7)
    best = norm_cost(start(7))[0].argmin()
    torch.testing.assert_close(found.mean, start(7)[:, best] * 0.8**10)


def test_the_best_sequence_is_kept_when_descent_overshoots():
    last = plan("gd", iterations=5, lr=1.5)  # every step doubles the sequence and turns it round
    best = plan("gd", iterations=5, lr=1.5, answer="best")
    torch.testing.assert_close(last.mean, start()[:, 0] * (-2.0) ** 5)
    torch.testing.assert_close(best.mean, start()[:, 0])


def test_adam_takes_the_steps_of_torch():
    actions = start().requires_grad_()
    optimizer = torch.optim.Adam([actions], lr=0.1, betas=(0.9, 0.995), eps=1e-8)
    for _ in range(20):
        optimizer.zero_grad()
        norm_cost(actions - 1).sum().backward()
        optimizer.step()
    found = plan("adam", lambda a: norm_cost(a - 1), iterations=20)
    assert torch.equal(found.mean, actions.detach()[:, 0])


def test_adam_is_not_gradient_descent():
    assert not torch.allclose(plan("adam", iterations=2, lr=0.1).mean, plan("gd", iterations=2, lr=0.1).mean)


@gradient_planners
def test_noise_is_added_after_every_step(name):
    def cost(actions: Tensor) -> Tensor:  # flat, so that nothing but noise moves the actions
        return (0 * actions).sum(dim=(2, 3))

    found = plan(name, cost, iterations=3, action_noise=0.1, init="zero")
    moved = 0.1 * sum(noise().normal(j, (1, 1, 3, 2)) for j in (1, 2, 3))
    torch.testing.assert_close(found.mean[:, None], moved)


@gradient_planners
def test_the_start_is_random_of_the_initial_deviation_or_zero_and_within_bounds(name):
    seen = []
    for settings in ({"init_std": 2.0}, {"init": "zero"}, {"init_std": 2.0, "bounds": {0: 0.1}}):
        plan(name, lambda a: seen.append(a.detach().clone()) or norm_cost(a), iterations=1, **settings)
    assert torch.equal(seen[0], 2 * start()) and (seen[1] == 0).all()
    assert torch.equal(seen[2], torch.stack([(2 * start()[..., 0]).clamp(-0.1, 0.1), 2 * start()[..., 1]], dim=-1))


@gradient_planners
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradients_flow_in_whatever_mode_the_caller_is_and_weights_get_none(name, mode):
    model = nn.Linear(2, 3)
    before = [parameter.clone() for parameter in model.parameters()]
    with mode():
        found = plan(name, lambda actions: model(actions).square().sum(dim=(2, 3)), iterations=50, lr=0.05)
    assert float(found.trace.best[0, -1]) < float(found.trace.best[0, 0])
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), before, strict=True))
    assert not found.mean.requires_grad


@gradient_planners
def test_a_gradient_that_is_no_number_moves_nothing(name):
    def cost(actions: Tensor) -> Tensor:  # the length of the first action, whose slope at zero is 0 / 0
        return (actions[:, :, 0].square().sum(dim=-1)).sqrt() + (actions[:, :, 1:] - 1).square().sum(dim=(2, 3))

    found = plan(name, cost, iterations=300, lr=0.05, init="zero")
    assert (found.mean[:, 0] == 0).all()
    torch.testing.assert_close(found.mean[:, 1:], torch.ones(1, 2, 2), atol=0.02, rtol=0)


@gradient_planners
def test_a_cost_without_gradient_is_refused_with_a_sentence(name):
    with pytest.raises(PlanningError, match="follows gradients, but the cost does not depend on the actions"):
        plan(name, lambda actions: norm_cost(actions.detach()))


@gradient_planners
def test_a_cost_may_change_and_keep_what_it_is_given(name):
    kept = []

    def cost(actions: Tensor) -> Tensor:
        actions = actions.mul_(1.0)
        kept.append(actions)
        return norm_cost(actions)

    assert torch.equal(plan(name, cost, iterations=5, lr=0.1).mean, plan(name, iterations=5, lr=0.1).mean)
    assert not torch.equal(kept[0], kept[-1])


@gradient_planners
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr=0.0 is not possible; it must be positive"),
        ({"action_noise": -0.1}, "action_noise=-0.1 is not possible; it must be at least 0"),
        ({"init": "rand"}, r"Unknown value of planner setting init 'rand'\. Did you mean randn"),
        ({"num_samples": 4, "max_evaluations": 7}, "max_evaluations=7 is not possible; it must be at least 8, one"),
    ],
)
def test_impossible_settings_are_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_planner(name, **settings)
