"""What holds for every predictor family, whatever its weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jepawm_agents.world_models.attention import frame_causal_mask
from jepawm_agents.world_models.weights import PREDICTORS

B, T, P, D, A, Q = 3, 4, 4, 6, 10, 2

every_family = pytest.mark.parametrize("family", list(PREDICTORS))


@pytest.fixture
def predictor(tiny_model):
    """``predictor(family)``: weights large enough that every input matters."""

    def make(family: str, *, felt: bool = True):
        found = tiny_model(family, **({} if felt else {"proprio_width": 0})).predictor
        random = torch.Generator().manual_seed(1)
        for parameter in found.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
        return found

    return make


def assert_close(found: Tensor | None, expected: Tensor | None, tolerance: float = 1e-5) -> None:
    assert found is not None and expected is not None
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def inputs(frames: int = T, *, felt: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
    random = torch.Generator().manual_seed(2)
    visual, action = torch.randn(B, T, P, D, generator=random), torch.randn(B, T, A, generator=random)
    proprio = torch.randn(B, T, Q, generator=random)
    return visual[:, :frames], action[:, :frames], proprio[:, :frames] if felt else None


@every_family
@pytest.mark.parametrize("felt", [True, False])
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_shapes_are_those_of_the_context(predictor, family, felt, frames):
    out = predictor(family, felt=felt).predict(*inputs(frames, felt=felt))
    assert out.visual.shape == (B, frames, P, D)
    assert out.proprio is None if not felt else out.proprio.shape == (B, frames, P, 4)


@every_family
@pytest.mark.parametrize("disturbed", range(1, T))
@pytest.mark.parametrize("which", [0, 1, 2], ids=["visual", "action", "proprio"])
def test_no_prediction_depends_on_a_later_frame(predictor, family, disturbed, which):
    model, given = predictor(family), inputs()
    before = model.predict(*given)
    changed = [value.clone() for value in given if value is not None]
    changed[which][:, disturbed] += 1.0
    after = model.predict(*changed)
    for one, other in ((before.visual, after.visual), (before.proprio, after.proprio)):
        assert torch.equal(one[:, :disturbed], other[:, :disturbed])
        assert not torch.allclose(one[:, disturbed], other[:, disturbed], rtol=1e-3, atol=1e-4)


@every_family
def test_the_last_prediction_depends_on_the_first_frame(predictor, family):
    model, (visual, action, proprio) = predictor(family), inputs()
    before = model.predict(visual, action, proprio).visual[:, -1]
    visual = visual.clone()
    visual[:, 0] += 1.0
    assert not torch.allclose(model.predict(visual, action, proprio).visual[:, -1], before, rtol=1e-3, atol=1e-4)


@every_family
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_asking_for_the_last_frame_only_changes_no_value(predictor, family, frames):
    model, (visual, action, proprio) = predictor(family), inputs(frames)
    assert proprio is not None
    felt = model.embed_proprio(proprio)
    whole, last = model(visual, action, felt), model(visual, action, felt, last_only=True)
    assert_close(last.visual, whole.visual[:, -1:])
    assert_close(last.proprio, whole.proprio[:, -1:])


@every_family
def test_conditions_computed_once_can_be_reused_in_every_window(predictor, family):
    model, (visual, action, proprio) = predictor(family), inputs()
    assert proprio is not None
    felt, condition = model.embed_proprio(proprio), model.condition(action)
    for first in range(T - 1):
        part = slice(first, first + 2)
        assert_close(condition[:, part], model.condition(action[:, part]))
        reused = model.advance(visual[:, part], condition[:, part], felt[:, part])
        assert_close(reused.visual, model(visual[:, part], action[:, part], felt[:, part]).visual)


@every_family
def test_rows_of_a_batch_do_not_see_each_other(predictor, family):
    model, given = predictor(family), inputs()
    together = model.predict(*given).visual
    for row in range(B):
        alone = model.predict(*(value[row : row + 1] for value in given if value is not None)).visual
        assert_close(alone[0], together[row])


@every_family
@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_rollout_is_prediction_after_prediction_in_a_sliding_window(predictor, family, window):
    model, (visual, _, proprio) = predictor(family), inputs()
    assert proprio is not None
    actions = torch.randn(B, 2, 5, A, generator=torch.Generator().manual_seed(3))
    found, felt = model.rollout(visual[:, 0], proprio[:, 0], actions, window=window)
    assert found.shape == (B, 2, 6, P, D) and felt.shape == (B, 2, 6, P, 4)
    for candidate in range(2):
        seen, sensed = [visual[:, 0]], [model.embed_proprio(proprio[:, :1])[:, 0]]
        for step in range(5):
            first = max(0, step + 1 - window)
            context = torch.stack(seen[first:], dim=1), torch.stack(sensed[first:], dim=1)
            out = model(context[0], actions[:, candidate, first : step + 1], context[1])
            seen.append(out.visual[:, -1])
            sensed.append(out.proprio[:, -1])
        assert_close(found[:, candidate], torch.stack(seen, dim=1), 1e-4)
        assert_close(felt[:, candidate], torch.stack(sensed, dim=1), 1e-4)


@every_family
def test_a_model_without_proprioception_says_so(predictor, family):
    with pytest.raises(ValueError, match="This predictor has no proprioception; pass proprio=None"):
        predictor(family, felt=False).predict(*inputs())


def test_dino_wm_refuses_a_window_longer_than_its_positions(predictor):
    visual, action, proprio = inputs()
    longer = [torch.cat([value, value], dim=1) for value in (visual, action, proprio) if value is not None]
    with pytest.raises(ValueError, match="has 4 frame positions, but the window has 8"):
        predictor("dino_wm").predict(*longer)


def test_the_mask_lets_a_token_see_its_own_frame_and_earlier_ones():
    mask = frame_causal_mask(3, 2, torch.device("cpu"))
    for token in range(6):
        for seen in range(6):
            assert bool(mask[token, seen]) == (seen // 2 <= token // 2)


def test_a_new_adaln_predictor_has_the_published_spread_of_weights(tiny_model):
    model = tiny_model("adaln", width=124, depth=2).predictor
    weights = model.state_dict()
    assert float(weights["predictor_embed.weight"].std()) == pytest.approx(0.02, rel=0.1)
    assert float(weights["predictor_blocks.0.adaLN_modulation.1.weight"].std()) == pytest.approx(0.2, rel=0.1)
    for layer in (0, 1):
        expected = 0.02 / (2 * (layer + 1)) ** 0.5
        assert float(weights[f"predictor_blocks.{layer}.mlp.fc2.weight"].std()) == pytest.approx(expected, rel=0.1)
