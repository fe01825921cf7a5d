"""Objectives against numbers computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.objectives import DISTANCES, make_objective

# One episode, one candidate, two frames (the current one first), one token of two channels.
VISUAL = torch.tensor([[[[[0.0, 0.0]], [[3.0, 4.0]]]]])
GOAL = torch.tensor([[[3.0, 0.0]]])
FELT = torch.tensor([[[[[2.0]], [[1.0]]]]])
FELT_GOAL = torch.tensor([[[-1.0]]])


def cost(name: str, *, proprio: bool = False, **settings) -> float:
    felt, felt_goal = (FELT, FELT_GOAL) if proprio else (None, None)
    return float(make_objective(name, **settings)(VISUAL, felt, GOAL, felt_goal))


@pytest.mark.parametrize(
    ("name", "last", "summed"),
    [
        ("L2", 16 / 2, 16 / 2 + 9 / 2),  # means over channels, not norms
        ("L1", 4 / 2, 4 / 2 + 3 / 2),
        ("cos", -3 / 5, -3 / 5 + 0),
    ],
)
def test_costs_of_one_candidate_are_the_hand_computed_ones(name, last, summed):
    assert cost(name) == pytest.approx(last)
    assert cost(name, reduce="sum") == pytest.approx(summed)


@pytest.mark.parametrize(("name", "felt_last", "felt_summed"), [("L2", 4, 4 + 9), ("L1", 2, 2 + 3), ("cos", 1, 1 + 1)])
def test_proprioception_is_added_with_weight_alpha(name, felt_last, felt_summed):
    assert cost(name, proprio=True, alpha=0.5) == pytest.approx(cost(name) + 0.5 * felt_last)
    added = cost(name, proprio=True, alpha=0.5, reduce="sum") - cost(name, reduce="sum")
    assert added == pytest.approx(0.5 * felt_summed)
    assert cost(name, proprio=True, alpha=0.0) == cost(name)


def test_the_default_weight_of_proprioception_is_the_published_one():
    assert cost("L2", proprio=True) == pytest.approx(8 + 0.1 * 4)


def test_a_ramp_weighs_late_frames_more():
    frames = torch.tensor([1.0, 2.0, 5.0]).sqrt()[None, None, :, None, None]
    goal = torch.zeros(1, 1, 1)
    for ramp, expected in ((0.0, 8.0), (1.0, 0.5 * 2 + 5), (2.0, 0.25 * 2 + 5)):
        found = make_objective("L2", reduce="sum", ramp=ramp)(frames, None, goal, None)
        assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reduce": "sum", "ramp": -1}, "ramp=-1 is not possible"),
        ({"reduce": "sum", "ramp": "2"}, "ramp='2' is not possible"),
        ({"ramp": 2.0}, "ramp=2 weighs the frames of a sum"),
    ],
)
def test_impossible_ramps_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_objective("L2", **settings)


@pytest.mark.parametrize("name", list(DISTANCES))
def test_costs_of_a_batch_are_those_of_its_parts(name):
    random = torch.Generator().manual_seed(0)
    visual, goal = torch.randn(2, 5, 3, 4, 6, generator=random), torch.randn(2, 4, 6, generator=random)
    objective = make_objective(name, reduce="sum")
    together = objective(visual, None, goal, None)
    assert together.shape == (2, 5)
    for e in range(2):
        for n in range(5):
            alone: Tensor = objective(visual[e : e + 1, n : n + 1], None, goal[e : e + 1], None)
            torch.testing.assert_close(alone[0, 0], together[e, n])


@pytest.mark.parametrize("name", list(DISTANCES))
def test_the_goal_itself_costs_least(name):
    goal = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(0))
    candidates = torch.stack([goal + 0.1, goal, goal - 0.1], dim=1)[:, :, None]
    assert int(make_objective(name)(candidates, None, goal, None).argmin()) == 1


def test_half_precision_latents_are_scored_in_float32():
    assert make_objective("L2")(VISUAL.half(), None, GOAL.half(), None).dtype == torch.float32


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"Unknown objective 'L3'\. Did you mean L"):
        make_objective("L3")
    with pytest.raises(ConfigError, match=r"Unknown reduction 'mean'\. There are: last, sum"):
        make_objective("L2", reduce="mean")
