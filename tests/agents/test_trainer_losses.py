"""What a recipe can choose about the loss, against numbers computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError
from jepawm_agents.training.distances import negative_cosine, weighted
from jepawm_agents.training.losses import world_model_loss
from jepawm_agents.training.predictor import cuts
from jepawm_agents.training.train_settings import PREFIXES
from jepawm_agents.world_models.base import Prediction, Predictor


class Adds(Predictor):
    """Next latent = w * latent + action; next proprioception = v * proprioception. One token of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.grid_size, self.latent_dim, self.proprio_encoder = 1, 1, nn.Identity()
        self.w, self.v = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))

    def condition(self, action: Tensor) -> Tensor:
        return action

    def advance(self, visual, condition, proprio, *, last_only=False) -> Prediction:
        assert proprio is not None
        out, felt = self.w * visual + condition[:, :, None], self.v * proprio
        return Prediction(out[:, -1:], felt[:, -1:]) if last_only else Prediction(out, felt)


VISUAL = torch.tensor([1.0, 2.0, 4.0, 8.0]).reshape(1, 4, 1, 1)
ACTION = torch.ones(1, 3, 1)
FELT = torch.tensor([0.0, 1.0, 3.0, 6.0]).reshape(1, 4, 1)
# Teacher forcing predicts 2, 3, 5 of 2, 4, 8, and 0, 1, 3 of 1, 3, 6.
FORCED, FORCED_FELT = (0 + 1 + 9) / 3, (1 + 4 + 9) / 3
# Imagined from the prediction of frame 1: frame 2 is 3, not 4, and feels 0, not 3; from that of frame 2: frame 3 is 4,
# not 8, and feels 1, not 6.
IMAGINED, IMAGINED_FELT = (1, 16), (9, 25)


def loss(**settings: Any) -> float:
    plain = {"rollout_steps": 2, "cut": 0, "window": 1, "stop_gradient": True}
    return float(world_model_loss(Adds(), VISUAL, ACTION, FELT, **(plain | settings)).detach())


@pytest.mark.parametrize("place", [0, 1])
def test_proprioception_counts_as_much_as_what_is_seen_or_not_at_all(place):
    seen = FORCED / 3 + IMAGINED[place] / 2
    assert loss(cut=place, proprio_loss=False) == pytest.approx(seen)
    assert loss(cut=place) == pytest.approx(seen + FORCED_FELT / 3 + IMAGINED_FELT[place] / 2)


def test_several_prefixes_count_with_their_mean():
    imagined = sum(IMAGINED) / 2 + sum(IMAGINED_FELT) / 2
    assert loss(cut=[0, 1]) == pytest.approx((FORCED + FORCED_FELT) / 3 + imagined / 2)
    assert loss(cut=[1]) == loss(cut=1)


def test_equal_weights_make_every_order_one_of_k():
    equal = {"order_weights": "equal", "proprio_loss": False}
    assert loss(**equal) == pytest.approx((FORCED + IMAGINED[0]) / 2)
    # Frame 1 imagined 2, frame 2 imagined 3 (true 4), frame 3 imagined 4 (true 8).
    assert loss(rollout_steps=3, **equal) == pytest.approx((FORCED + 1 + 16) / 3)
    assert loss(rollout_steps=1, **equal) == pytest.approx(FORCED)
    with pytest.raises(ConfigError, match=r"Unknown order_weights 'equals'\. Did you mean equal"):
        loss(order_weights="equals")


@pytest.mark.parametrize("prefixes", PREFIXES)
def test_prefixes_leave_a_target_for_every_imagined_step(prefixes):
    drawn = [cuts(prefixes, np.random.default_rng(seed), 4, 2) for seed in range(30)]
    expected = {"random": {(0,), (1,)}, "first": {(0,)}, "all": {(0, 1)}}[prefixes]
    assert {tuple(places) for places in drawn} == expected


PREDICTED = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
TRUE = torch.tensor([[0.0, 4.0], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("weights", "value"),
    [
        ({"l2": 1.0}, (9 + 16 + 0.25 + 0.25) / 4),
        ({"l1": 1.0}, (3 + 4 + 0.5 + 0.5) / 4),
        ({"smooth_l1": 1.0}, (2.5 + 3.5 + 0.125 + 0.125) / 4),
        ({"cos": 1.0}, (0 - 1) / 2),
        ({"l2": 2.0, "l1": 0.0, "smooth_l1": 0.0, "cos": 0.5}, 2 * 25.5 / 4 - 0.25),
    ],
)
def test_metrics_are_means_over_all_numbers_and_add_up_with_their_weights(weights, value):
    assert float(weighted(weights)(PREDICTED, TRUE)) == pytest.approx(value)


def test_the_metrics_are_those_of_the_published_loss():
    """Per element, mean over channels first, then over the rest (``video_wm.py:372-453``): the same mean."""
    draw = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 4, 5, generator=draw), torch.randn(2, 3, 4, 5, generator=draw)
    published = -(F.normalize(one, dim=-1) * F.normalize(other, dim=-1)).sum(-1).mean()
    torch.testing.assert_close(negative_cosine(one, other), published)


def test_vectors_of_zeros_spoil_neither_the_loss_nor_its_gradient():
    zeros = torch.zeros(2, 3, requires_grad=True)
    value = weighted({"l2": 1.0, "cos": 1.0})(zeros, torch.zeros(2, 3))
    value.backward()
    assert float(value.detach()) == 0.0
    assert zeros.grad is not None and torch.isfinite(zeros.grad).all()


def test_losses_of_bfloat16_predictions_are_float32():
    exact = weighted({"l2": 1.0})(PREDICTED.bfloat16(), TRUE)
    assert exact.dtype == torch.float32 and float(exact) == 25.5 / 4


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"l3": 1.0}, r"Unknown metric of the loss 'l3'\. Did you mean l2, l1"),
        ({"l2": 0.0}, "No metric of the loss has a weight; give one to l2, l1, smooth_l1, cos"),
        ({"l2": -1.0}, "The weight of metric 'l2' is -1.0; it must be 0 or more"),
        ({"l2": float("nan")}, "The weight of metric 'l2' is nan"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        weighted(weights)


@pytest.mark.parametrize("fixed", [False, True])
def test_a_fixed_proprio_target_does_not_learn(fixed):
    class Scales(Adds):
        """Embeds proprioception by a factor that could shrink it."""

        def __init__(self) -> None:
            super().__init__()
            self.proprio_encoder = nn.Linear(1, 1, bias=False)
            nn.init.ones_(self.proprio_encoder.weight)

    model = Scales()
    settings = {"rollout_steps": 1, "cut": 0, "window": 1, "stop_gradient": True, "fixed_proprio": fixed}
    world_model_loss(model, VISUAL, ACTION, FELT, **settings).backward()
    assert isinstance(model.proprio_encoder, nn.Linear) and model.proprio_encoder.weight.grad is not None
    # Half the mean of (f x_t - f x_{t+1})^2 at f = 1: both sides learn, or only what was felt before.
    before, after = FELT[:, :-1], FELT[:, 1:]
    both = ((before - after) ** 2).mean()
    expected = ((before - after) * before).mean() if fixed else both
    assert float(model.proprio_encoder.weight.grad) == pytest.approx(float(expected))
