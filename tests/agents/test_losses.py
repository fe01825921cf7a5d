"""Training losses against numbers computed by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.training.alarms import effective_rank
from jepawm_agents.training.losses import STD_FLOOR, covariance, variance, world_model_loss
from jepawm_agents.training.schedules import learning_rate
from jepawm_agents.world_models.base import Prediction, Predictor


def test_variance_is_the_missing_deviation_of_every_dimension():
    z = torch.tensor([[0.0, 0.0, 5.0], [0.6, 6.0, 5.0]])  # deviations 0.6 / sqrt 2, 6 / sqrt 2, 0
    missing = [1 - (0.18 + STD_FLOOR) ** 0.5, 0.0, 1 - STD_FLOOR**0.5]
    assert float(variance(z)) == pytest.approx(sum(missing) / 3, rel=1e-5)


def test_covariance_counts_products_of_different_dimensions_only():
    z = torch.tensor([[1.0, 2.0, 0.0], [-1.0, -2.0, 0.0]])  # covariance of the first two: (2 + 2) / 1
    assert float(covariance(z)) == pytest.approx(2 * 4.0**2 / 3)
    assert float(covariance(torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]))) == 0.0


def test_the_effective_rank_of_k_equal_directions_is_k():
    z = torch.cat([torch.eye(3), -torch.eye(3)])
    basis = torch.linalg.qr(torch.randn(10, 10, generator=torch.Generator().manual_seed(0)))[0][:3]
    assert effective_rank(z @ basis) == pytest.approx(3.0, abs=1e-6)


class Adds(Predictor):
    """Next latent = w * latent + action, on one token of one channel; sees nothing but the last frame."""

    def __init__(self, w: float):
        super().__init__()
        self.grid_size, self.latent_dim, self.proprio_encoder = 1, 1, None
        self.w = nn.Parameter(torch.tensor(w))

    def condition(self, action: Tensor) -> Tensor:
        return action

    def advance(self, visual, condition, proprio, *, last_only=False) -> Prediction:
        out = self.w * visual + condition[:, :, None]
        return Prediction(out[:, -1:] if last_only else out, None)


VISUAL = torch.tensor([1.0, 2.0, 4.0, 8.0]).reshape(1, 4, 1, 1)
ACTION = torch.tensor([1.0, 1.0, 1.0]).reshape(1, 3, 1)
# With w = 1: predictions 2, 3, 5 of targets 2, 4, 8; errors 0, -1, -3.
FORCED = (0 + 1 + 9) / 3


def loss(steps: int, *, cut: int = 0, stop: bool = True, w: float = 1.0) -> tuple[float, float]:
    model = Adds(w)
    value = world_model_loss(model, VISUAL, ACTION, None, rollout_steps=steps, cut=cut, window=3, stop_gradient=stop)
    value.backward()
    assert model.w.grad is not None
    return float(value.detach()), float(model.w.grad)


def test_teacher_forcing_alone_has_weight_one_half():
    assert loss(1)[0] == pytest.approx(FORCED / 2)


@pytest.mark.parametrize(
    ("cut", "imagined"),
    [
        (0, 3 - 4),  # from the prediction 2 of frame 1: 2 + 1 instead of 4
        (1, 4 - 8),  # from the prediction 3 of frame 2: 3 + 1 instead of 8
    ],
)
def test_two_steps_weigh_teacher_forcing_a_third_and_the_imagined_step_a_half(cut, imagined):
    assert loss(2, cut=cut)[0] == pytest.approx(FORCED / 3 + imagined**2 / 2)


def test_three_steps_weigh_both_imagined_steps_a_third():
    # Frame 1 imagined 2, frame 2 imagined 3 (true 4), frame 3 imagined 4 (true 8).
    assert loss(3)[0] == pytest.approx(FORCED / 4 + (1 + 16) / 3)


def test_absolute_errors_are_weighed_alike():
    given = {"cut": 1, "window": 3, "stop_gradient": True, "distance": F.l1_loss}
    value = world_model_loss(Adds(1.0), VISUAL, ACTION, None, rollout_steps=2, **given)
    assert float(value.detach()) == pytest.approx((0 + 1 + 3) / 3 / 3 + abs(4 - 8) / 2)


class Feels(Adds):
    """Adds the proprioception of the last frame, and predicts none."""

    def __init__(self):
        super().__init__(1.0)
        self.proprio_encoder = nn.Identity()

    def advance(self, visual, condition, proprio, *, last_only=False) -> Prediction:
        out = self.w * visual + condition[:, :, None] + proprio
        return Prediction(out[:, -1:] if last_only else out, None)


def test_imagined_steps_see_recorded_proprioception_where_asked_to():
    felt = torch.tensor([0.0, 0.5, 0.25, 9.0]).reshape(1, 4, 1)
    given = {"rollout_steps": 3, "cut": 0, "window": 1, "stop_gradient": True}
    value = world_model_loss(Feels(), VISUAL, ACTION, felt, true_proprio=True, **given)
    forced = (0**2 + (3.5 - 4) ** 2 + (5.25 - 8) ** 2) / 3
    # Frame 1 imagined 2, frame 2 imagined 2 + 1 + 0.5 (true 4), frame 3 imagined 3.5 + 1 + 0.25 (true 8).
    imagined = (3.5 - 4) ** 2 + (4.75 - 8) ** 2
    assert float(value.detach()) == pytest.approx(forced / 4 + imagined / 3)
    with pytest.raises(ValueError, match="predicts none; train it with true_proprio=True"):
        world_model_loss(Feels(), VISUAL, ACTION, felt, **given)


def test_stopping_the_gradient_keeps_the_value_and_learns_from_the_last_pass_alone():
    forced = 2 * (0 * 1 + -1 * 2 + -3 * 4) / 3  # d/dw of the mean squared error
    last, both = 2 * -4 * 3, 2 * -4 * (3 + 1 * 2)  # frame 3 is w * (w * 2 + 1) + 1
    stopped, free = loss(2, cut=1, stop=True), loss(2, cut=1, stop=False)
    assert stopped[0] == free[0]
    assert stopped[1] == pytest.approx(forced / 3 + last / 2)
    assert free[1] == pytest.approx(forced / 3 + both / 2)


def test_the_learning_rate_rises_over_a_twentieth_and_then_falls_to_nearly_nothing():
    factors = [learning_rate(step, 200, peak=1.0) for step in range(200)]
    assert factors[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert factors[10] == 1.0 and factors[-1] < 1e-3
    assert all(later <= earlier for earlier, later in pairwise(factors[10:]))
    assert learning_rate(0, 1, peak=1.0) == 1.0
