"""CEM, gradient descent and objectives against records of the reference on its toy latent dynamics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jepawm_agents.objectives import make_objective
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.noise import EpisodeNoise

TOLERANCE = 1e-5
SETTINGS = {
    "plain": {},
    "clip": {"bounds": {0: 0.3, 1: 0.3, 3: 0.1}, "init_std": 0.5},
    "momentum": {"momentum_mean": 0.2, "momentum_std": 0.4},
}


@pytest.fixture
def toy(golden) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in golden("planner").items()}


class RecordedNoise:
    """The standard normals that the reference drew, (J, H, N, A)."""

    def __init__(self, noise: Tensor):
        self.noise = noise

    def normal(self, iteration: int, shape: tuple[int, ...]) -> Tensor:
        return self.noise[iteration].transpose(0, 1)[None].clone()


def imagine(toy: dict[str, Tensor], actions: Tensor) -> Tensor:
    """z' = tanh(z W + a V) for actions (E, N, H, A), as latents (E, N, H + 1, 1, D)."""
    z = toy["z0"].expand(*actions.shape[:2], -1)
    path = [z]
    for action in actions.unbind(dim=2):
        z = torch.tanh(z @ toy["W"] + action @ toy["V"])
        path.append(z)
    return torch.stack(path, dim=2)[:, :, :, None]


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["L2", "L1", "cos"])
@pytest.mark.parametrize("reduce", ["last", "sum"])
def test_objectives_equal_the_reference(toy, name, reduce):
    latents = imagine(toy, toy[f"obj_{name}_{reduce}_actions"].transpose(0, 1)[None])
    cost = make_objective(name, reduce=reduce)(latents, None, toy["zg"][None, None], None)
    assert_close(cost[0], toy[f"obj_{name}_{reduce}"])


@pytest.mark.parametrize("variant", list(SETTINGS))
def test_cem_equals_the_reference_in_actions_mean_and_trace(toy, variant):
    objective = make_objective("L2")
    planner = make_planner(
        "cem", horizon=6, num_samples=64, iterations=8, num_elites=10, execution_horizon=3, **SETTINGS[variant]
    )
    plan = planner.plan(
        lambda actions: objective(imagine(toy, actions), None, toy["zg"][None, None], None),
        batch=1,
        action_dim=4,
        noise=RecordedNoise(toy[f"cem_{variant}_noise"]),
    )
    assert_close(plan.actions[0], toy[f"cem_{variant}_actions"])
    assert_close(plan.mean[0], toy[f"cem_{variant}_mean_full"])
    assert_close(plan.trace.best[0], toy[f"cem_{variant}_best_cost"][:, 0])
    assert_close(plan.trace.elite_mean[0], toy[f"cem_{variant}_elite_mean"][:, 0])
    assert_close(plan.trace.elite_std[0], toy[f"cem_{variant}_elite_std"][:, 0])


@pytest.mark.parametrize(("variant", "bounds"), [("plain", {}), ("clip", dict.fromkeys(range(4), 0.3))])
def test_gradient_descent_equals_the_reference_in_actions_and_losses(toy, variant, bounds):
    objective = make_objective("L2")
    settings = {"iterations": 50, "lr": 1.0, "init": "zero", "action_noise": 0.0}
    plan = make_planner("gd", horizon=6, execution_horizon=6, bounds=bounds, **settings).plan(
        lambda actions: objective(imagine(toy, actions), None, toy["zg"][None, None], None),
        batch=1,
        action_dim=4,
        noise=EpisodeNoise([(0, 0)], 0),
    )
    assert_close(plan.actions[0], toy[f"gd_{variant}_actions"])
    assert_close(plan.trace.best[0], toy[f"gd_{variant}_losses"][:, 0])
