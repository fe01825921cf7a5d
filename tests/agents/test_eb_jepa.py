"""EB-JEPA: encoder, dynamics, inverse dynamics and loss against the reference's record, and as a world model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from jepawm_agents.agent import JEPAWMAgent
from jepawm_agents.errors import WeightsError
from jepawm_agents.objectives import make_objective
from jepawm_agents.planners import make_planner
from jepawm_agents.preprocessing import Preprocessing
from jepawm_agents.training.losses import EBJEPAWeights, eb_jepa_loss
from jepawm_agents.world_models.eb_jepa import EBJEPA, GRUPredictor, InverseDynamics, eb_jepa_from_reference
from jepawm_agents.world_models.encoders.impala import ImpalaEncoder, dot_and_wall
from jepawm_agents.world_models.jepa import JEPAWorldModel, Normaliser
from jepawm_agents.world_models.weights import build, load_world_model, save_world_model
from jepawm_bench.agent import EpisodeKey

TOLERANCE = 1e-5


@pytest.fixture
def record(golden) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in golden("eb_jepa").items()}


@pytest.fixture
def weights(record) -> dict[str, Tensor]:
    return {key.removeprefix("sd."): value for key, value in record.items() if key.startswith("sd.")}


@pytest.fixture
def model(weights) -> EBJEPA:
    return eb_jepa_from_reference(weights, image_size=33)


def latents(record: dict[str, Tensor], model: EBJEPA) -> Tensor:
    """(B, T, D)."""
    frames = record["io.observation"].transpose(1, 2)
    return model.encoder.latent(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])


def actions(record: dict[str, Tensor]) -> Tensor:
    return record["io.action"].transpose(1, 2)


def assert_close(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(found, expected.reshape(found.shape), rtol=tolerance, atol=tolerance)


def test_latents_equal_the_reference(record, model):
    assert_close(latents(record, model).transpose(1, 2), record["io.latent"])


def test_rollouts_equal_the_reference(record, model):
    start = latents(record, model)[:, :1]
    imagined, felt = model.predictor.rollout(start, None, actions(record)[:, None])
    assert felt is None
    assert_close(imagined[:, 0, :, 0].transpose(1, 2), record["io.rollout"])


def test_the_loss_its_terms_and_its_gradient_equal_the_reference(record, model):
    found = eb_jepa_loss(latents(record, model), actions(record), model.predictor, model.inverse_dynamics, steps=4)
    assert_close(found.loss, record["io.loss"])
    assert_close(found.regulariser, record["io.reg"])
    assert_close(found.prediction, record["io.pred_loss"])
    names = {
        "variance": "std_loss",
        "covariance": "cov_loss",
        "similarity": "sim_loss_t",
        "inverse_dynamics": "idm_loss",
    }
    for name, recorded in names.items():
        torch.testing.assert_close(found.terms[name], record[f"io.{recorded}"], rtol=TOLERANCE, atol=0)
    found.loss.backward()
    gradients = [parameter.grad for module in model for parameter in module.parameters()]
    assert all(gradient is not None for gradient in gradients)
    norm = torch.sqrt(sum((gradient.square().sum() for gradient in gradients), torch.zeros(())))
    assert_close(norm, record["io.grad_norm"])


@torch.no_grad()
def test_weights_of_the_loss_weigh_their_terms(record, model):
    given = latents(record, model), actions(record), model.predictor, model.inverse_dynamics
    plain = eb_jepa_loss(*given, steps=2, weights=EBJEPAWeights(0.0, 0.0, 0.0, 0.0))
    assert float(plain.regulariser) == 0.0 and float(plain.loss) == float(plain.prediction)
    for name in plain.terms:
        weighted = eb_jepa_loss(
            *given, steps=2, weights=EBJEPAWeights(**{**dict.fromkeys(plain.terms, 0.0), name: 3.0})
        )
        assert float(weighted.regulariser) == pytest.approx(3 * float(plain.terms[name]))


@pytest.mark.parametrize("steps", [0, 9])
def test_more_steps_than_frames_are_refused(record, model, steps):
    with pytest.raises(ValueError, match=f"steps={steps} is not possible with 9 frames; choose 1 to 8"):
        eb_jepa_loss(latents(record, model), actions(record), model.predictor, model.inverse_dynamics, steps=steps)


def test_the_full_model_has_the_published_number_of_parameters():
    parts = ImpalaEncoder(), GRUPredictor(latent_dim=512, action_dim=2), InverseDynamics(latent_dim=512, action_dim=2)
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [1_426_096, 792_576, 328_706] and sum(counts) == 2_547_378


def test_keys_that_are_missing_or_left_over_are_named(weights):
    with pytest.raises(WeightsError, match=r"Key 'head\.weight' is none of EB-JEPA's"):
        eb_jepa_from_reference({**weights, "head.weight": torch.zeros(1)}, image_size=33)
    with pytest.raises(WeightsError, match=r"unknown extra\.weight"):
        eb_jepa_from_reference({**weights, "encoder.extra.weight": torch.zeros(1)}, image_size=33)
    with pytest.raises(WeightsError, match=r"missing gru\.bias_hh"):
        eb_jepa_from_reference({k: v for k, v in weights.items() if k != "gru.bias_hh_l0"}, image_size=33)
    with pytest.raises(WeightsError, match=r"lack 'gru\.weight_ih'"):
        eb_jepa_from_reference({k: v for k, v in weights.items() if not k.startswith("gru.")}, image_size=33)
    with pytest.raises(WeightsError, match=r"mlp\.weight has shape \(32, 200\) instead of \(32, 648\)"):
        eb_jepa_from_reference(weights, image_size=65)


def picture(count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A dot of 2x2 pixels and a wall of one column, as two channels and as a red, black and white picture."""
    dot, wall = np.zeros((count, 33, 33), np.uint8), np.zeros((count, 33, 33), np.uint8)
    for row in range(count):
        dot[row, 5 + row : 7 + row, 8:10] = [[200, 255], [0, 17]]
    wall[:, :, 20] = 255
    red = 255 - wall
    return np.stack([dot, wall], axis=-1), np.stack(
        [red, red - np.minimum(dot, red), red - np.minimum(dot, red)], axis=-1
    )


def test_dot_and_wall_are_told_from_a_picture():
    channels, rgb = (torch.from_numpy(value) for value in picture())
    assert torch.equal(dot_and_wall(rgb).to(torch.uint8), dot_and_wall(channels))
    with pytest.raises(ValueError, match=r"2 channels .* or 3 .* these have 4"):
        dot_and_wall(torch.zeros(1, 33, 33, 4))


def test_channels_are_stretched_and_normalised():
    encoder = ImpalaEncoder(image_size=33, channels=(4,), latent_dim=8)
    channels = torch.from_numpy(picture()[0]).clone()
    channels[1, ..., 1] = 255  # no contrast at all
    channels[..., 0] //= 2  # half the contrast
    found = encoder.prepare(channels)
    assert float(found[0, 0].max()) == pytest.approx((1 - 0.0026) / 0.0369, rel=1e-5)
    assert float(found[0, 0].min()) == pytest.approx(-0.0026 / 0.0369, rel=1e-5)
    assert float(found[0, 1].max()) == pytest.approx((1 - 0.0989) / 0.2986, rel=1e-5)
    assert torch.equal(found[1, 1], torch.full((33, 33), float(found[0, 1].min())))
    with pytest.raises(ValueError, match=r"pictures of \(33, 33\) pixels, but these are \(65, 65\)"):
        encoder(torch.zeros(1, 65, 65, 2, dtype=torch.uint8))


def test_recorded_pictures_of_two_rooms_get_the_published_range(golden):
    frames = torch.from_numpy(golden("two_rooms")["official_frames"]).flatten(0, 1)
    found = ImpalaEncoder().prepare(frames.permute(0, 2, 3, 1))
    assert found.shape == (40, 2, 65, 65)
    for channel, (low, high) in enumerate([(-0.0705, 27.03), (-0.3312, 3.018)]):
        values = found[:, channel].flatten(1)
        torch.testing.assert_close(values.amin(dim=1), torch.full((40,), low), rtol=0, atol=0.01)
        torch.testing.assert_close(values.amax(dim=1), torch.full((40,), high), rtol=0, atol=0.01)


def world_model(parts: EBJEPA) -> JEPAWorldModel:
    config = {
        "encoder": {"family": "impala", "image_size": 33, "channels": [4, 8, 8], "latent_dim": 32},
        "predictor": {"family": "gru"},
        "action_dim": 2,
        "proprio_dim": 2,
        "frameskip": 1,
        "window": 1,
    }
    return JEPAWorldModel(parts.encoder, parts.predictor, Normaliser(2, 2), window=1, config=config)


def test_a_world_model_of_it_imagines_the_recorded_rollouts(record, model):
    whole = world_model(model)
    start = latents(record, model)[:, :1]
    candidates = actions(record)[:1, None].expand(-1, 3, -1, -1)
    imagined = whole.rollout(whole.encode(picture(1)[0], np.zeros((1, 2)))._replace(visual=start[:1]), candidates)
    assert imagined.proprio is None and imagined.visual.shape == (1, 3, 10, 1, 32)
    for candidate in range(3):
        assert_close(imagined.visual[0, candidate, :, 0].T, record["io.rollout"][0])


def test_it_survives_its_file_with_the_norm_still_shared(tmp_path, model):
    whole, path = world_model(model), tmp_path / "eb_jepa.safetensors"
    save_world_model(whole, path)
    for other in (load_world_model(path), copy.deepcopy(whole)):
        for key, value in whole.state_dict().items():
            assert torch.equal(other.state_dict()[key], value), key
        norm = other.encoder.get_submodule("final_ln")
        before = other.predictor.predict(torch.ones(1, 1, 1, 32), torch.ones(1, 1, 2)).visual
        with torch.no_grad():
            norm.weight.mul_(2.0)  # type: ignore[operator]
            norm.bias.mul_(2.0)  # type: ignore[operator]
        assert_close(other.predictor.predict(torch.ones(1, 1, 1, 32), torch.ones(1, 1, 2)).visual, 2 * before)


def test_an_agent_plans_with_it_alike_alone_and_in_a_batch(model):
    agent = JEPAWMAgent(
        world_model(model),
        make_planner("cem", horizon=5, num_samples=16, iterations=2, num_elites=4, execution_horizon=1),
        make_objective("L2", reduce="sum"),
        Preprocessing(image_size=33, frameskip=1),
    )
    _, rgb = picture(2)
    observation = {
        "pixels": rgb,
        "goal_pixels": rgb[::-1].copy(),
        "proprio": np.zeros((2, 2), np.float32),
        "goal_proprio": np.zeros((2, 2), np.float32),
    }
    keys = [EpisodeKey(seed=1, episode=episode) for episode in (4, 9)]
    agent.reset(observation, keys)
    both = agent.act(observation, steps_left=20).actions
    assert both.shape == (2, 1, 2) and np.isfinite(both).all()
    for row in range(2):
        one = {key: value[row : row + 1] for key, value in observation.items()}
        agent.reset(one, keys[row : row + 1])
        np.testing.assert_array_equal(agent.act(one, steps_left=20).actions[0], both[row])


def test_dynamics_without_an_encoder_or_with_the_wrong_one_are_refused(config):
    with pytest.raises(ValueError, match=r"needs its encoder's LayerNorm; call attach\(encoder\) first"):
        GRUPredictor(latent_dim=4, action_dim=2).predict(torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 2))
    with pytest.raises(ValueError, match="works on one token, but the encoder gives a grid of 2"):
        build({**config("adaln"), "predictor": {"family": "gru"}})
    with pytest.raises(ValueError, match="shares the encoder's LayerNorm; Linear has none"):
        GRUPredictor(latent_dim=4, action_dim=2).attach(torch.nn.Linear(1, 1))


def test_substeps_are_steps_of_one_cell_with_a_part_of_the_action_each():
    torch.manual_seed(0)
    encoder = ImpalaEncoder(channels=[4], latent_dim=6)
    one, five = (GRUPredictor(latent_dim=6, action_dim=2 * steps, substeps=steps) for steps in (1, 5))
    five.load_state_dict(one.state_dict())
    for predictor in (one, five):
        predictor.attach(encoder)
    latent, actions = torch.randn(3, 1, 6), torch.randn(3, 1, 10, 2)
    whole = five.rollout(latent, None, actions.reshape(3, 1, 2, 10))[0]
    every = one.rollout(latent, None, actions)[0]
    torch.testing.assert_close(whole, every[:, :, ::5], rtol=0, atol=1e-6)


@pytest.mark.parametrize("substeps", [0, 3])
def test_an_action_that_cannot_be_divided_is_refused(substeps):
    with pytest.raises(ValueError, match=f"substeps={substeps} is not possible: 10 action numbers"):
        GRUPredictor(latent_dim=4, action_dim=10, substeps=substeps)
