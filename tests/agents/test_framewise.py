"""Imagining frame by frame gives what the plain rollout gives, for less work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from jepawm_agents.context import rollout_from_past
from jepawm_agents.errors import ConfigError
from jepawm_agents.objectives import make_objective
from jepawm_agents.world_models import frame_layer
from jepawm_agents.world_models.adaln import AdaLNPredictor
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.framewise import FramewisePredictor, Moments
from jepawm_agents.world_models.jepa import Latent
from jepawm_agents.world_models.reference import from_reference
from jepawm_agents.world_models.weights import PREDICTORS

B, N, H, P, D, A, Q = 2, 3, 5, 4, 6, 7, 7
BLOCKS: dict[str, Any] = {"depth": 3, "heads": 2, "mlp_ratio": 2.0}
# Heads of 25 channels, as those of the published models, or of 12 and 8.
SIZES: dict[str, dict[str, Any]] = {
    "adaln": {**BLOCKS, "width": 50},
    "adaln_felt": {**BLOCKS, "width": 46, "proprio_width": 4},
    "adaln_normed": {**BLOCKS, "width": 24, "normalize_latents": True},
    "dino_wm": {"action_width": 6, "depth": 2, "heads": 2, "head_dim": 8, "mlp_dim": 32, "frames": 4},
    "dino_wm_felt": {"action_width": 6, "proprio_width": 4, "depth": 2, "heads": 2, "head_dim": 25, "mlp_dim": 32},
    "action_token": {**BLOCKS, "width": 24},
    "action_token_felt": {**BLOCKS, "width": 50, "proprio_token": True, "normalize_latents": True},
    "feature_rope": {**BLOCKS, "width": 46, "action_width": 4},
    "feature_rope_felt": {**BLOCKS, "width": 20, "action_width": 4, "proprio_width": 4},
}
every_model = pytest.mark.parametrize("name", list(SIZES))


def predictor(name: str) -> Predictor:
    """A small predictor with weights large enough that every input matters."""
    family = name.removesuffix("_felt").removesuffix("_normed")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = PREDICTORS[family](grid_size=2, latent_dim=D, action_dim=A, proprio_dim=Q, **SIZES[name])
    random = torch.Generator().manual_seed(1)
    for parameter in made.requires_grad_(False).parameters():
        parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return made.eval()


def inputs(name: str) -> tuple[Tensor, Tensor | None, Tensor]:
    random = torch.Generator().manual_seed(2)
    visual, proprio = torch.randn(B, P, D, generator=random), torch.randn(B, Q, generator=random)
    return visual, proprio if name.endswith("_felt") else None, torch.randn(B, N, H, A, generator=random)


def assert_close(found: Tensor | None, expected: Tensor | None, tolerance: float = 1e-5) -> None:
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.shape == expected.shape
        assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


@every_model
@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("multiple", [1, 8])
def test_futures_are_those_of_the_plain_rollout(name, window, multiple):
    model, given = predictor(name), inputs(name)
    expected = model.rollout(*given, window=window)
    for found, wanted in zip(
        FramewisePredictor(model, head_multiple=multiple).rollout(*given, window), expected, strict=True
    ):
        assert_close(found, wanted)


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("name", [name for name in SIZES if name != "action_token_felt"])
def test_futures_from_several_real_frames_are_those_of_the_plain_path(name, window):
    model, (_, _, actions) = predictor(name), inputs(name)
    random = torch.Generator().manual_seed(3)
    felt = name.endswith("_felt")
    frames = [
        Latent(torch.randn(B, P, D, generator=random), torch.randn(B, Q, generator=random) if felt else None)
        for _ in range(window)
    ]
    past = torch.randn(B, window - 1, A, generator=random)
    expected = rollout_from_past(model, frames, past, actions, window)
    moments = Moments([f.visual for f in frames], [f.proprio for f in frames if f.proprio is not None], past)
    found = FramewisePredictor(model).continue_from(moments, actions, window)
    assert_close(found[0], expected.visual)
    assert_close(found[1], expected.proprio)


@every_model
def test_the_last_frame_alone_is_the_last_of_all(name):
    model, given = FramewisePredictor(predictor(name)), inputs(name)
    for last, whole in zip(model.rollout(*given, last_only=True), model.rollout(*given), strict=True):
        assert (last is None) == (whole is None)
        if last is not None and whole is not None:
            assert torch.equal(last, whole[:, :, -1:])


@every_model
def test_gradients_are_those_of_the_plain_rollout(name):
    model, (visual, proprio, actions) = predictor(name), inputs(name)
    with torch.inference_mode():  # where agents may be made
        fast = FramewisePredictor(model)
        fast.rollout(visual, proprio, actions)
    gradients = []
    for rollout in (model.rollout, fast.rollout):
        leaf = actions.clone().requires_grad_()
        imagined = rollout(visual, proprio, leaf)[0]
        weights = torch.linspace(-1, 1, imagined.numel()).reshape(imagined.shape)
        gradients.append(torch.autograd.grad((imagined * weights).sum(), leaf)[0])
    assert_close(gradients[1], gradients[0], 1e-4)


@pytest.mark.parametrize(
    "record",
    [
        "adaln_proprio_feature",
        "adaln_noprop",
        "dino_wm_proprio",
        "dino_wm_noprop",
        "ac_feature_rope_noprop",
        "vjepa2_ac_noprop",
    ],
)
def test_futures_are_the_recorded_ones(golden, record):
    data = {key: torch.from_numpy(value) for key, value in golden(f"models/{record}").items()}
    weights = {key.removeprefix("sd."): value for key, value in data.items() if key.startswith("sd.")}
    model = from_reference(weights, grid_size=4, num_heads=2, normalize_latents="vjepa2" in record)
    visual = data["io.visual"].reshape(2, 4, 16, 24)[:1, 0]
    proprio = None if model.proprio_encoder is None else data["io.proprio"][:1, 0]
    actions = data["io.unroll_actions"].transpose(0, 1)[None]
    found = FramewisePredictor(model).rollout(visual, proprio, actions)[0][0]
    expected = data["io.unroll_visual"].transpose(0, 1).reshape(found.shape)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@every_model
def test_preparation_leaves_the_predictor_as_it_is(name):
    model, given = predictor(name), inputs(name)
    before = model.rollout(*given)[0]
    FramewisePredictor(model, dtype=torch.bfloat16).rollout(*given)
    assert torch.equal(model.rollout(*given)[0], before)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@every_model
def test_bf16_stays_near(name):
    model, given = predictor(name), inputs(name)
    exact, rough = model.rollout(*given)[0], FramewisePredictor(model, dtype=torch.bfloat16).rollout(*given)[0]
    assert rough.dtype == torch.bfloat16
    error = (rough.float() - exact).norm() / exact.norm()
    assert 1e-4 < error < 0.1  # eight bits of mantissa, five steps, weights of chaos
    first = (rough[:, :, 1].float() - exact[:, :, 1]).norm() / exact[:, :, 1].norm()
    assert first < 0.03


def test_bf16_mostly_keeps_the_ranking_of_candidates():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AdaLNPredictor(grid_size=4, latent_dim=32, action_dim=10, width=50, depth=4, heads=2)
        model.eval().requires_grad_(False)
        visual, goal, actions = torch.randn(1, 16, 32), torch.randn(1, 16, 32), torch.randn(1, 100, 3, 10)
    objective, costs = make_objective("L2"), []
    for dtype in (torch.float32, torch.bfloat16):
        imagined, felt = FramewisePredictor(model, dtype=dtype).rollout(visual, None, actions)
        costs.append(objective(imagined, felt, goal, None)[0])
        assert costs[-1].dtype == torch.float32
    ranks = torch.stack([cost.argsort().argsort().float() for cost in costs])
    assert torch.corrcoef(ranks)[0, 1] > 0.98
    elites = [set(cost.argsort()[:10].tolist()) for cost in costs]
    assert len(elites[0] & elites[1]) >= 8


def test_nothing_is_computed_that_is_not_wanted(monkeypatch):
    """Window 2, three steps: the first two share frame 0, the third slides; scores are never masked."""
    seen: list[tuple[int, int]] = []
    attend = frame_layer.F.scaled_dot_product_attention

    def watch(query, key, value, **rest):
        assert rest.get("attn_mask") is None
        seen.append((query.shape[2] // P, key.shape[2] // P))
        return attend(query, key, value, **rest)

    monkeypatch.setattr(frame_layer.F, "scaled_dot_product_attention", watch)
    visual, proprio, actions = inputs("adaln")
    FramewisePredictor(predictor("adaln")).rollout(visual, proprio, actions[:, :, :3])
    one_frame, with_one_before = (1, 1), (1, 2)
    # Three layers: frame 0; frame 1 on it; frame 1 anew but for the last layer; frame 2 on it.
    assert seen == [one_frame] * 3 + [with_one_before] * 3 + [one_frame] * 2 + [with_one_before] * 3


def test_filling_heads_up_changes_the_size_not_the_scale():
    layer = FramewisePredictor(predictor("adaln"), head_multiple=8).family.frame_layers[0]
    assert (layer.layout.size, layer.layout.padded, layer.scale) == (25, 32, 25**-0.5)
    assert layer.qkv_weight.shape == (3 * 2 * 32, 50)


def test_a_predictor_that_is_no_transformer_is_refused():
    gru = PREDICTORS["gru"](grid_size=1, latent_dim=D, action_dim=A, proprio_dim=Q)
    with pytest.raises(ConfigError, match="A GRUPredictor cannot be prepared for faster inference"):
        FramewisePredictor(gru)


def test_missing_proprioception_is_refused():
    visual, _, actions = inputs("adaln_felt")
    with pytest.raises(ValueError, match="needs proprioception"):
        FramewisePredictor(predictor("adaln_felt")).rollout(visual, None, actions)


def test_a_window_longer_than_the_learned_positions_is_refused():
    with pytest.raises(ValueError, match="has 4 frame positions, but the window has 5"):
        FramewisePredictor(predictor("dino_wm")).rollout(*inputs("dino_wm"), window=5)


def test_compilation_that_fails_says_so_in_a_sentence(monkeypatch):
    def broken(function, **_):
        def run(*_):
            raise RuntimeError("no compiler\nat /somewhere")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ConfigError, match=r"inference\.compile=true does not work here: no compiler Leave it out"):
        FramewisePredictor(predictor("adaln"), compiled=True).rollout(*inputs("adaln"))


@pytest.mark.slow
def test_compiled_futures_are_those_of_the_plain_rollout():
    model, given = predictor("adaln_felt"), inputs("adaln_felt")
    try:
        found = FramewisePredictor(model, compiled=True).rollout(*given)
    except ConfigError as problem:
        pytest.skip(str(problem))
    for one, other in zip(found, model.rollout(*given), strict=True):
        assert_close(one, other)
