"""Predictors, rollouts and losses against records of the reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jepawm_agents.training.distances import weighted
from jepawm_agents.training.losses import rollout_loss, world_model_loss
from jepawm_agents.world_models.action_token import ActionTokenPredictor
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.reference import from_reference

TOLERANCE = 1e-5
RECORDS = [
    "adaln_proprio_feature",
    "adaln_noprop",
    "dino_wm_proprio",
    "dino_wm_noprop",
    "ac_feature_rope_noprop",
    "vjepa2_ac_noprop",
    "vjepa2_ac_proprio",
]
# The reference cannot roll out this one: it would feed a predicted token of 48 channels where 7 are expected.
ROLLED_OUT = [name for name in RECORDS if name != "vjepa2_ac_proprio"]


@pytest.fixture(params=RECORDS)
def recorded(request, golden) -> dict[str, Tensor]:
    """The reference's record of one small predictor."""
    return {key: torch.from_numpy(value) for key, value in golden(f"models/{request.param}").items()}


@pytest.fixture
def recorded_predictor(request, recorded) -> Predictor:
    """That predictor, rebuilt here from its weights."""
    weights = {key.removeprefix("sd."): value for key, value in recorded.items() if key.startswith("sd.")}
    normalised = "vjepa2" in request.node.callspec.params["recorded"]
    return from_reference(weights, grid_size=4, num_heads=2, normalize_latents=normalised)


rolled_out = pytest.mark.parametrize("recorded", ROLLED_OUT, indirect=True)


def inputs(record: dict[str, Tensor], predictor) -> tuple[Tensor, Tensor, Tensor | None]:
    proprio = None if predictor.proprio_encoder is None else record["io.proprio"]
    return record["io.visual"].reshape(2, 4, 16, 24), record["io.action"], proprio


def distance(predictor: Predictor):
    """The recorded models were trained on squared errors, V-JEPA-2-AC on absolute ones."""
    return weighted({"l1": 1.0} if isinstance(predictor, ActionTokenPredictor) else {"l2": 1.0})


def assert_equal(found: Tensor | None, expected: Tensor) -> None:
    assert found is not None
    torch.testing.assert_close(found, expected.reshape(found.shape), rtol=TOLERANCE, atol=TOLERANCE)


def test_predictions_equal_the_reference(recorded, recorded_predictor):
    out = recorded_predictor.predict(*inputs(recorded, recorded_predictor))
    assert_equal(out.visual, recorded["io.pred_visual"])
    assert (out.proprio is None) == ("io.pred_proprio" not in recorded)
    if out.proprio is not None:
        assert_equal(out.proprio, recorded["io.pred_proprio"])


@rolled_out
def test_rollouts_with_a_window_of_two_equal_the_reference(recorded, recorded_predictor):
    visual, _, proprio = inputs(recorded, recorded_predictor)
    actions = recorded["io.unroll_actions"].transpose(0, 1)[None]
    start = None if proprio is None else proprio[:1, 0]
    imagined, felt = recorded_predictor.rollout(visual[:1, 0], start, actions, window=2)
    assert_equal(imagined[0].transpose(0, 1), recorded["io.unroll_visual"])
    if proprio is not None:
        assert felt is not None
        assert_equal(felt[0].transpose(0, 1), recorded["io.unroll_proprio"])


def test_the_teacher_forcing_loss_equals_the_reference(recorded, recorded_predictor):
    visual, action, proprio = inputs(recorded, recorded_predictor)
    loss = world_model_loss(
        recorded_predictor,
        visual,
        action[:, :3],
        proprio,
        rollout_steps=1,
        cut=0,
        window=3,
        stop_gradient=True,
        distance=distance(recorded_predictor),
    )
    torch.testing.assert_close(2 * loss, recorded["io.teacher_forcing_loss"], rtol=TOLERANCE, atol=TOLERANCE)


@rolled_out
@pytest.mark.parametrize("mode", ["stopgrad", "bptt"])
def test_the_rollout_term_equals_the_reference(recorded, recorded_predictor, mode):
    visual, action, proprio = inputs(recorded, recorded_predictor)
    felt = None if proprio is None else recorded_predictor.embed_proprio(proprio)
    forced = recorded_predictor(visual[:, :-1], action[:, :-1], None if felt is None else felt[:, :-1])
    given = (recorded_predictor, visual, action, felt, forced, 2, 1, 3, mode == "stopgrad")
    term = rollout_loss(*given, distance=distance(recorded_predictor))
    expected = recorded[f"io.rollout_term_t1_w3_{mode}"]
    torch.testing.assert_close(term, expected, rtol=TOLERANCE, atol=TOLERANCE)


@rolled_out
@pytest.mark.parametrize("mode", ["stopgrad", "bptt"])
def test_gradient_norms_of_two_step_training_equal_the_reference(recorded, recorded_predictor, mode):
    visual, action, proprio = inputs(recorded, recorded_predictor)
    recorded_predictor.requires_grad_(True)
    world_model_loss(
        recorded_predictor,
        visual,
        action[:, :3],
        proprio,
        rollout_steps=2,
        cut=1,
        window=3,
        stop_gradient=mode == "stopgrad",
        distance=distance(recorded_predictor),
    ).backward()
    # The reference counts its action encoder to the predictor where that is a plain Linear, as in AdaLN.
    counted = [
        parameter.grad
        for name, parameter in recorded_predictor.named_parameters()
        if not name.startswith(("proprio_encoder", "action_encoder.patch_embed")) and parameter.grad is not None
    ]
    assert counted
    norm = torch.sqrt(sum((grad.square().sum() for grad in counted), torch.zeros(())))
    torch.testing.assert_close(norm, recorded[f"io.grad_norm_predictor_{mode}"], rtol=TOLERANCE, atol=TOLERANCE)
