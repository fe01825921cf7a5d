"""What iCEM adds to CEM, each against a computed answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.coloured_noise import coloured, colouring
from jepawm_agents.planners.noise import EpisodeNoise

SMALL = {"horizon": 3, "num_samples": 40, "iterations": 4, "num_elites": 5, "execution_horizon": 1}


def noise(replan: int = 0) -> EpisodeNoise:
    return EpisodeNoise([(0, 0)], replan)


def norm_cost(actions: Tensor) -> Tensor:
    return (actions - 0.5).square().sum(dim=(2, 3))


def plan_and_candidates(cost=norm_cost, *, replan: int = 0, previous=None, **settings):
    seen = []
    plan = make_planner("icem", **{**SMALL, **settings}).plan(
        lambda actions: seen.append(actions.clone()) or cost(actions),
        batch=1,
        action_dim=2,
        noise=noise(replan),
        previous=previous,
    )
    return plan, seen


def test_populations_shrink_to_twice_the_elites_and_all_count():
    planner = make_planner("icem", num_samples=100, iterations=8, num_elites=20, population_decay=1.5)
    assert planner.sizes == [100, 66, 44, 40, 40, 40, 40, 40]  # type: ignore[attr-defined]
    assert planner.evaluations == 410
    limited = make_planner(
        "icem", num_samples=100, iterations=8, num_elites=20, population_decay=1.5, max_evaluations=200
    )
    assert limited.sizes == [100, 66, 34]  # type: ignore[attr-defined]


def test_the_answer_is_the_best_sequence_seen_and_the_trace_never_rises():
    plan, seen = plan_and_candidates()
    candidates = torch.cat(seen, dim=1)
    costs = norm_cost(candidates)[0]
    assert torch.equal(plan.mean[0], candidates[0, costs.argmin()])
    assert (plan.trace.best.diff(dim=1) <= 0).all() and plan.trace.best[0, -1] == costs.min()


def test_kept_elites_compete_with_the_costs_they_have():
    # The best ever is found first; later candidates are worse, and it is not scored again.
    calls = []

    def cost(actions: Tensor) -> Tensor:
        calls.append(None)
        return norm_cost(actions) + 100 * (len(calls) > 1)

    plan, seen = plan_and_candidates(cost)
    first = norm_cost(seen[0])[0]
    assert torch.equal(plan.mean[0], seen[0][0, first.argmin()])
    lost, _ = plan_and_candidates(cost, keep_elites=0.0)
    assert float(lost.trace.best[0, -1]) > 100


def test_the_mean_is_a_candidate_of_the_last_iteration():
    _, seen = plan_and_candidates(momentum_mean=0.0, iterations=2, keep_elites=0.0)
    elites = seen[0][0, norm_cost(seen[0])[0].argsort()[:5]]
    torch.testing.assert_close(seen[1][0, -1], elites.mean(dim=0))


def test_elites_of_the_previous_plan_take_part_shifted_with_new_last_steps():
    first, _ = plan_and_candidates()
    assert first.elites is not None
    _, seen = plan_and_candidates(replan=1, previous=first, keep_elites=0.5)
    torch.testing.assert_close(seen[0][0, :2, :2], first.elites[0, :2, 1:])
    _, cold = plan_and_candidates(replan=1, previous=first._replace(elites=None), keep_elites=0.5)
    assert torch.equal(seen[0][0, :, 2], cold[0][0, :, 2]) and torch.equal(seen[0][0, 2:], cold[0][0, 2:])


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0, 4.0])
def test_coloured_noise_has_variance_one_and_the_spectrum_asked_for(beta):
    horizon = 16
    matrix = colouring(horizon, beta)
    covariance = matrix @ matrix.T
    np.testing.assert_allclose(np.diag(covariance), 1.0, atol=1e-12)
    # The covariance of stationary noise on a circle is diagonal under Fourier; its eigenvalues are the spectrum.
    power = np.fft.rfft(covariance[0]).real
    frequency = np.fft.rfftfreq(horizon)[1:]
    np.testing.assert_allclose(power[1:] / power[1], (frequency / frequency[0]) ** -beta, atol=1e-9)
    np.testing.assert_allclose(power[0], power[1], atol=1e-9)


def test_drawn_noise_is_coloured_along_time_only():
    white = torch.randn(1, 20000, 6, 2, generator=torch.Generator().manual_seed(0))
    matrix = colouring(6, 2.0)
    draws = coloured(white, 2.0)[0].numpy()
    for dimension in range(2):
        np.testing.assert_allclose(np.cov(draws[..., dimension].T), matrix @ matrix.T, atol=0.05)
    assert abs(np.corrcoef(draws[:, 0, 0], draws[:, 0, 1])[0, 1]) < 0.03
    assert torch.equal(coloured(white, 0.0), white)


def test_a_single_step_has_no_colour():
    white = torch.randn(1, 5, 1, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(coloured(white, 2.0), white)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_beta": -1.0}, "noise_beta=-1.0 is not possible; it must be at least 0"),
        ({"population_decay": 0.5}, "population_decay=0.5 is not possible; it must be at least 1"),
        ({"keep_elites": 1.0}, "keep_elites=1.0 is not possible; it must be at least 0 and below 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_planner("icem", **settings)


def test_noise_of_chunks_is_coloured_over_their_primitive_actions():
    white = EpisodeNoise([(0, 0)], 0).normal(0, (1, 500, 3, 10))
    whole = coloured(white, 1.5, chunk=5)
    primitive = coloured(white.reshape(1, 500, 15, 2), 1.5)
    torch.testing.assert_close(whole.reshape(primitive.shape), primitive, rtol=0, atol=0)
    neighbours = (primitive[:, :, 1:] * primitive[:, :, :-1]).mean()
    assert neighbours > 0.4 and abs(float(primitive.var()) - 1) < 0.1


def test_plain_cem_takes_coloured_noise_too_and_is_white_by_default():
    settings = {**SMALL, "horizon": 4}

    def first_candidates(**more) -> Tensor:
        seen = []
        make_planner("cem", **settings, **more).plan(
            lambda actions: seen.append(actions.clone()) or norm_cost(actions), batch=1, action_dim=4, noise=noise()
        )
        return seen[0]

    white, chunked = first_candidates(), first_candidates(noise_beta=1.0, chunk=2)
    expected = coloured(white, 1.0, chunk=2)
    torch.testing.assert_close(chunked[:, 1:], expected[:, 1:], rtol=0, atol=0)
    assert torch.equal(white, first_candidates(chunk=2))


def test_a_chunk_must_divide_the_action():
    with pytest.raises(ConfigError, match=r"planner\.chunk=3 is not possible: it must divide the 2 action numbers"):
        plan_and_candidates(chunk=3)
    with pytest.raises(ConfigError, match="chunk=0 is not possible"):
        make_planner("cem", chunk=0)
