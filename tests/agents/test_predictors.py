"""What holds for every predictor family, whatever its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jepawm_agents.world_models.attention import frame_causal_mask
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.pose import integrate_pose
from jepawm_agents.world_models.rope import cached_rope_table
from jepawm_agents.world_models.weights import PREDICTORS

B, T, P, D, A, Q = 3, 4, 4, 6, 7, 7

BLOCKS: dict[str, Any] = {"depth": 2, "heads": 2, "mlp_ratio": 2.0}
SIZES: dict[str, dict[str, Any]] = {
    "adaln": {**BLOCKS, "width": 20},
    "dino_wm": {"action_width": 6, "depth": 2, "heads": 2, "head_dim": 8, "mlp_dim": 32, "frames": 4},
    "action_token": {**BLOCKS, "width": 24},
    "feature_rope": {**BLOCKS, "width": 20, "action_width": 4},
    "gru": {},
    "gated": {"width": 12},
}
ONE_TOKEN = ("gru", "gated")
FELT: dict[str, dict[str, Any]] = {
    "adaln": {"proprio_width": 4},
    "dino_wm": {"proprio_width": 4},
    "action_token": {"proprio_token": True},
    "feature_rope": {"proprio_width": 4},
}
IMAGINE_PROPRIO = [family for family in FELT if family != "action_token"]

every_family = pytest.mark.parametrize("family", list(PREDICTORS))
transformers = pytest.mark.parametrize("family", list(FELT))
felt_or_not = pytest.mark.parametrize(
    ("family", "felt"),
    [(family, felt) for family in PREDICTORS for felt in (False, True) if family in FELT or not felt],
)


class Norm(nn.Module):
    """Stands for an encoder that shares its LayerNorm."""

    def __init__(self):
        super().__init__()
        self.final_ln = nn.LayerNorm(D)


def predictor(family: str, *, felt: bool | None = None, **changes: Any) -> Predictor:
    """A small predictor with weights large enough that every input matters."""
    felt = family in FELT if felt is None else felt
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {**SIZES[family], **(FELT[family] if felt else {}), **changes}
        grid = {"grid_size": 1 if family in ONE_TOKEN else 2}
        found = PREDICTORS[family](**grid, latent_dim=D, action_dim=A, proprio_dim=Q, **sizes)
    random = torch.Generator().manual_seed(1)
    for parameter in found.requires_grad_(False).parameters():
        parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    found.attach(Norm())
    return found.eval()


def inputs(family: str, frames: int = T, *, felt: bool | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    felt = family in FELT if felt is None else felt
    random = torch.Generator().manual_seed(2)
    visual = torch.randn(B, T, 1 if family in ONE_TOKEN else P, D, generator=random)
    action, proprio = torch.randn(B, T, A, generator=random), torch.randn(B, T, Q, generator=random)
    return visual[:, :frames], action[:, :frames], proprio[:, :frames] if felt else None


def embedded(model: Predictor, given: tuple[Tensor, Tensor, Tensor | None]) -> tuple[Tensor, Tensor, Tensor | None]:
    return given[0], given[1], None if given[2] is None else model.embed_proprio(given[2])


def assert_close(found: Tensor | None, expected: Tensor | None, tolerance: float = 1e-5) -> None:
    assert found is not None and expected is not None
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@felt_or_not
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_shapes_are_those_of_the_context(family, felt, frames):
    given = inputs(family, frames, felt=felt)
    out = predictor(family, felt=felt).predict(*given)
    assert out.visual.shape == given[0].shape
    if felt and family in IMAGINE_PROPRIO:
        assert out.proprio is not None and out.proprio.shape == (B, frames, P, 4)
    else:
        assert out.proprio is None


@pytest.mark.parametrize(
    ("family", "which"), [(family, which) for family in PREDICTORS for which in range(3) if family in FELT or which < 2]
)
@pytest.mark.parametrize("disturbed", range(1, T))
def test_no_prediction_depends_on_a_later_frame(family, disturbed, which):
    model, given = predictor(family), inputs(family)
    before = model.predict(*given)
    changed: list[Any] = [None if value is None else value.clone() for value in given]
    changed[which][:, disturbed] += 1.0
    after = model.predict(*changed)
    for one, other in ((before.visual, after.visual), (before.proprio, after.proprio)):
        if one is None or other is None:
            assert one is other
            continue
        assert torch.equal(one[:, :disturbed], other[:, :disturbed])
        assert not torch.allclose(one[:, disturbed], other[:, disturbed], rtol=1e-3, atol=1e-4)


@transformers
def test_the_last_prediction_depends_on_the_first_frame(family):
    model, (visual, action, proprio) = predictor(family), inputs(family)
    before = model.predict(visual, action, proprio).visual[:, -1]
    visual = visual.clone()
    visual[:, 0] += 1.0
    assert not torch.allclose(model.predict(visual, action, proprio).visual[:, -1], before, rtol=1e-3, atol=1e-4)


@every_family
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_asking_for_the_last_frame_only_changes_no_value(family, frames):
    model = predictor(family)
    given = embedded(model, inputs(family, frames))
    whole, last = model(*given), model(*given, last_only=True)
    assert_close(last.visual, whole.visual[:, -1:])
    if whole.proprio is not None:
        assert_close(last.proprio, whole.proprio[:, -1:])


@every_family
def test_conditions_computed_once_can_be_reused_in_every_window(family):
    model = predictor(family)
    visual, action, felt = embedded(model, inputs(family))
    condition = model.condition(action)
    for first in range(T - 1):
        part = slice(first, first + 2)
        touch = None if felt is None else felt[:, part]
        assert_close(condition[:, part], model.condition(action[:, part]))
        reused = model.advance(visual[:, part], condition[:, part], touch)
        assert_close(reused.visual, model(visual[:, part], action[:, part], touch).visual)


@every_family
def test_rows_of_a_batch_do_not_see_each_other(family):
    model, given = predictor(family), inputs(family)
    together = model.predict(*given).visual
    for row in range(B):
        own: list[Any] = [None if value is None else value[row : row + 1] for value in given]
        alone = model.predict(*own).visual
        assert_close(alone[0], together[row])


@pytest.mark.parametrize("family", IMAGINE_PROPRIO)
@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_rollout_is_prediction_after_prediction_in_a_sliding_window(family, window):
    model, (visual, _, proprio) = predictor(family), inputs(family)
    assert proprio is not None
    actions = torch.randn(B, 2, 5, A, generator=torch.Generator().manual_seed(3))
    found, felt = model.rollout(visual[:, 0], proprio[:, 0], actions, window=window)
    assert felt is not None and found.shape == (B, 2, 6, P, D) and felt.shape == (B, 2, 6, P, 4)
    for candidate in range(2):
        seen, sensed = [visual[:, 0]], [model.embed_proprio(proprio[:, :1])[:, 0]]
        for step in range(5):
            first = max(0, step + 1 - window)
            context = torch.stack(seen[first:], dim=1), torch.stack(sensed[first:], dim=1)
            out = model(context[0], actions[:, candidate, first : step + 1], context[1])
            assert out.proprio is not None
            seen.append(out.visual[:, -1])
            sensed.append(out.proprio[:, -1])
        assert_close(found[:, candidate], torch.stack(seen, dim=1), 1e-4)
        assert_close(felt[:, candidate], torch.stack(sensed, dim=1), 1e-4)


@transformers
def test_poses_can_be_integrated_over_the_actions_instead_of_predicted(family):
    model, (visual, _, proprio) = predictor(family), inputs(family)
    assert proprio is not None
    model.proprio_mode = "compute_new_pose"
    actions = 0.3 * torch.randn(B, 2, 3, A, generator=torch.Generator().manual_seed(3))
    found, felt = model.rollout(visual[:, 0], proprio[:, 0], actions, window=2)
    for candidate in range(2):
        poses, seen = [proprio[:, 0]], [visual[:, 0]]
        for step in range(3):
            first = max(0, step - 1)
            context = torch.stack(seen[first:], dim=1), torch.stack(poses[first:], dim=1)
            out = model.predict(context[0], actions[:, candidate, first : step + 1], context[1])
            seen.append(out.visual[:, -1])
            poses.append(integrate_pose(poses[-1], actions[:, candidate, step]))
        assert_close(found[:, candidate], torch.stack(seen, dim=1), 1e-4)
        assert felt is not None
        assert_close(felt[:, candidate], model.embed_proprio(torch.stack(poses, dim=1)), 1e-4)


def test_gradients_reach_the_actions_through_integrated_poses():
    model, (visual, _, proprio) = predictor("action_token"), inputs("action_token")
    assert proprio is not None
    actions = (0.3 * torch.randn(B, 1, 3, A, generator=torch.Generator().manual_seed(3))).requires_grad_()
    _, felt = model.rollout(visual[:, 0], 0.3 * proprio[:, 0], actions)
    assert felt is not None
    felt[:, :, -1, 0, :6].square().sum().backward()
    assert actions.grad is not None and actions.grad.isfinite().all()
    assert (actions.grad[..., :6].abs().sum(dim=(0, 1, 3)) > 0).all()


def test_proprioception_that_is_not_predicted_cannot_be_imagined_so():
    model, (visual, action, proprio) = predictor("action_token"), inputs("action_token")
    assert proprio is not None
    model.proprio_mode = "predict_proprio"
    with pytest.raises(ValueError, match="predicts none; set its proprio_mode to 'compute_new_pose'"):
        model.rollout(visual[:, 0], proprio[:, 0], action[:, None])
    model.proprio_mode = "guess"
    with pytest.raises(ValueError, match="proprio_mode='guess' is unknown"):
        model.rollout(visual[:, 0], proprio[:, 0], action[:, None])


@every_family
def test_a_model_without_proprioception_says_so(family):
    visual, action, _ = inputs(family)
    with pytest.raises(ValueError, match="This predictor has no proprioception; pass proprio=None"):
        predictor(family, felt=False).predict(visual, action, torch.zeros(B, T, Q))


@transformers
def test_missing_proprioception_is_asked_for(family):
    visual, action, _ = inputs(family)
    with pytest.raises(ValueError, match="This predictor needs proprioception; pass proprio"):
        predictor(family).predict(visual, action, None)
    with pytest.raises(ValueError, match="This predictor needs proprioception; pass proprio"):
        predictor(family).rollout(visual[:, 0], None, action[:, None])


@transformers
def test_normalised_predictions_have_mean_zero_and_deviation_one(family):
    plain, normed = (
        predictor(family, normalize_latents=flag).predict(*inputs(family)).visual for flag in (False, True)
    )
    assert_close(normed.mean(dim=-1), torch.zeros(B, T, P))
    assert_close(normed.var(dim=-1, correction=0), torch.ones(B, T, P), 1e-3)
    centred = plain - plain.mean(dim=-1, keepdim=True)
    assert_close(normed, centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + 1e-5))


@transformers
def test_what_is_kept_from_inference_serves_training(family):
    frame_causal_mask.cache_clear()
    cached_rope_table.cache_clear()
    model, given = predictor(family), inputs(family)
    with torch.inference_mode():
        model.predict(*given)
    model.requires_grad_(True).predict(*given).visual.sum().backward()
    assert any(parameter.grad is not None for parameter in model.parameters())


def test_dino_wm_refuses_a_window_longer_than_its_positions():
    longer = [torch.cat([value, value], dim=1) for value in inputs("dino_wm") if value is not None]
    with pytest.raises(ValueError, match="has 4 frame positions, but the window has 8"):
        predictor("dino_wm").predict(*longer)


def test_the_mask_lets_a_token_see_its_own_frame_and_earlier_ones():
    mask = frame_causal_mask(3, 2, torch.device("cpu"))
    for token in range(6):
        for seen in range(6):
            assert bool(mask[token, seen]) == (seen // 2 <= token // 2)


@pytest.mark.parametrize("family", ["action_token", "feature_rope", "adaln"])
def test_a_new_predictor_has_the_published_spread_of_weights(family):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {**SIZES[family], "width": 124}
        model = PREDICTORS[family](grid_size=2, latent_dim=D, action_dim=A, proprio_dim=Q, **sizes)
    weights = model.state_dict()
    assert float(weights["predictor_embed.weight"].std()) == pytest.approx(0.02, rel=0.1)
    assert not weights["predictor_embed.bias"].any()
    for layer in (0, 1):
        expected = 0.02 / (2 * (layer + 1)) ** 0.5
        for part in ("mlp.fc2", "attn.proj"):
            assert float(weights[f"predictor_blocks.{layer}.{part}.weight"].std()) == pytest.approx(expected, rel=0.1)
        assert float(weights[f"predictor_blocks.{layer}.attn.qkv.weight"].std()) == pytest.approx(0.02, rel=0.1)
    if family == "adaln":
        assert float(weights["predictor_blocks.0.adaLN_modulation.1.weight"].std()) == pytest.approx(0.2, rel=0.1)


def test_blocks_of_adaln_zero_start_as_the_identity():
    sizes = {**SIZES["adaln"], "modulation_std": 0.0}
    model: Any = PREDICTORS["adaln"](grid_size=2, latent_dim=D, action_dim=A, **sizes)
    visual, action, _ = inputs("adaln", felt=False)
    expected = model.predictor_proj(model.predictor_norm(model.predictor_embed(visual)))
    assert_close(model.predict(visual, action, None).visual, expected)


# The gated predictor ---------------------------------------------------------------------------------------


def test_a_fresh_gated_predictor_keeps_the_latent_for_ever():
    model = PREDICTORS["gated"](latent_dim=D, action_dim=A)
    latent = model.normalise(torch.randn(B, 1, D, generator=torch.Generator().manual_seed(0)))
    imagined, _ = model.rollout(latent, None, torch.randn(B, 2, 90, A), window=1)
    torch.testing.assert_close(imagined, latent[:, None, None].expand_as(imagined), rtol=0.0, atol=1e-3)


def test_the_gated_change_is_as_computed_by_hand():
    model: Any = PREDICTORS["gated"](latent_dim=2, action_dim=1, width=1)
    with torch.no_grad():
        model.gate.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]))  # opened by z_0, value 2 a
        model.gate.bias.zero_()
        model.change.weight.copy_(torch.tensor([[0.0], [1.0]]))
    z, a = 1.0, 0.5
    moved = np.array([z, -z + z / (1 + np.exp(-z)) * 2 * a])
    expected = (moved - moved.mean()) / np.sqrt(moved.var() + 1e-5)
    found = model.predict(torch.tensor([[[[z, -z]]]]), torch.tensor([[[a]]])).visual
    np.testing.assert_allclose(found[0, 0, 0].detach().numpy(), expected, rtol=1e-5)


def test_a_gated_predictor_of_a_grid_is_refused():
    with pytest.raises(ValueError, match="works on one token, but the encoder gives a grid of 2²"):
        PREDICTORS["gated"](grid_size=2, latent_dim=D, action_dim=A)
