"""Rates as functions of the step, which weights decay, clipping."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from jepawm_agents.errors import ConfigError
from jepawm_agents.training.loop import LoopSettings
from jepawm_agents.training.optimizer import clip_gradients, make_optimizer, set_rates
from jepawm_agents.training.schedules import learning_rate, weight_decay


def rates(steps: int, **settings: Any) -> list[float]:
    return [learning_rate(step, steps, **settings) for step in range(steps)]


def test_warm_up_rises_on_a_line_from_the_start_to_the_peak():
    found = rates(100, peak=5.0, start=1.0, warm_up=0.04, schedule="constant")
    assert found[:4] == pytest.approx([2.0, 3.0, 4.0, 5.0])
    assert set(found[4:]) == {5.0}


def test_a_cosine_is_half_way_down_in_the_middle_and_ends_at_the_final_rate():
    found = rates(1000, peak=3.0, final=1.0, warm_up=0.0)
    assert found[0] == 3.0 and found[500] == pytest.approx(2.0) and found[-1] == pytest.approx(1.0, abs=1e-5)
    assert all(later < earlier for earlier, later in pairwise(found))


def test_wsd_stays_and_then_falls_on_a_line():
    found = rates(100, peak=4.0, warm_up=0.1, schedule="wsd", anneal=0.2)
    assert set(found[9:81]) == {4.0}
    assert found[80:] == pytest.approx([4.0 * (1 - k / 20) for k in range(20)])
    assert set(rates(100, peak=4.0, warm_up=0.0, schedule="wsd", anneal=0.0)) == {4.0}


def test_the_published_schedule_of_the_simulated_environments_is_a_constant():
    """start = peak = final, no warm-up: configs of jepa-wms, sheet 5.3."""
    assert rates(50, peak=5e-4, start=5e-4, final=5e-4, warm_up=0.0) == [5e-4] * 50


def test_weight_decay_goes_along_a_cosine():
    found = [weight_decay(step, 1000, first=1e-7, final=1e-6) for step in range(1000)]
    assert found[0] == pytest.approx(1e-7)
    assert found[500] == pytest.approx(5.5e-7)
    assert found[-1] == pytest.approx(1e-6, rel=1e-5)


def settings(**changes: Any) -> LoopSettings:
    return LoopSettings(**{"steps": 10, "learning_rate": 0.1, "weight_decay": 0.5, "warm_up": 0.0, **changes})


def one_step(at: int, **changes: Any) -> nn.Linear:
    """A layer of ones after one step without gradient: all that moves it is decay."""
    layer = nn.Linear(2, 2)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    chosen = settings(schedule="constant", **changes)
    optimizer = make_optimizer(layer, chosen)
    assert set_rates(optimizer, chosen, at) == 0.1
    optimizer.step()
    return layer


def test_matrices_decay_and_biases_do_not():
    layer = one_step(at=9)
    assert torch.allclose(layer.weight, torch.full((2, 2), 1 - 0.1 * 0.5))
    assert torch.equal(layer.bias, torch.ones(2))


def test_the_decay_of_a_step_is_that_of_its_schedule():
    assert torch.allclose(one_step(at=5, final_weight_decay=0.1).weight, torch.full((2, 2), 1 - 0.1 * 0.3))
    assert torch.allclose(one_step(at=5, final_weight_decay=0.0).weight, torch.full((2, 2), 1 - 0.1 * 0.25))


def test_betas_and_epsilon_reach_the_optimizer():
    optimizer = make_optimizer(nn.Linear(2, 2), settings(betas=[0.8, 0.995], epsilon=1e-6))
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.995)}
    assert {group["eps"] for group in optimizer.param_groups} == {1e-6}


@pytest.mark.parametrize(("longest", "left"), [(1.0, 1.0), (0.0, 5.0), (-1.0, 5.0), (10.0, 5.0)])
def test_gradients_are_clipped_together_or_not_at_all(longest, left):
    one, other, idle = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    one.grad, other.grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert float(clip_gradients([one, other, idle], longest)) == pytest.approx(5.0)
    assert float(torch.hypot(one.grad, other.grad)) == pytest.approx(left, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "linear"}, r"Unknown schedule of the learning rate 'linear'"),
        ({"precision": "bf61"}, r"Unknown precision of a training 'bf61'\. Did you mean bf16"),
        ({"accumulate": 0}, "accumulate=0 is not possible"),
        ({"log_every": 0}, "log_every=0 is not possible"),
        ({"warm_up": 1.5}, r"warm_up=1\.5 is not possible; it is a share of the steps"),
        ({"betas": [0.9]}, "are two numbers from 0 to below 1"),
        ({"betas": [0.9, 1.0]}, "are two numbers from 0 to below 1"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        settings(**changes)
