"""Collapse is told: faults that are put in on purpose raise the alarm, healthy latents do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jepawm_agents.training.alarms import encoder_alarms, imagined_alarms, sound, spread
from jepawm_agents.training.data import Episodes
from jepawm_agents.training.encoder import EncoderTraining
from jepawm_agents.world_models.weights import build_encoder


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


HEALTHY = noise(500, 40)


def test_independent_dimensions_are_healthy():
    found = spread(HEALTHY)
    assert encoder_alarms(found) == [] and imagined_alarms(found, found) == []


def test_constant_latents_raise_one_alarm():
    (alarm,) = encoder_alarms(spread(torch.full((500, 40), 3.0)))
    assert alarm == "40 of 40 dimensions of the latents hardly differ between frames"


def test_a_few_dead_dimensions_are_tolerated_and_more_are_not():
    four, five = HEALTHY.clone(), HEALTHY.clone()
    four[:, :4], five[:, :5] = 0.0, 0.0
    assert encoder_alarms(spread(four)) == []
    assert encoder_alarms(spread(five)) == ["5 of 40 dimensions of the latents hardly differ between frames"]


def test_copies_of_one_dimension_raise_the_alarm_of_rank():
    (alarm,) = encoder_alarms(spread(noise(500, 1).repeat(1, 40)))
    assert alarm == "the effective rank of the latents is 1.0 of 40 dimensions"


def test_imagination_that_says_always_the_same_is_told_beside_true_latents():
    true = spread(HEALTHY)
    (alarm,) = imagined_alarms(spread(0.01 * HEALTHY), true)
    assert alarm == "40 of 40 dimensions of the imagined latents hardly differ between frames"
    (alarm,) = imagined_alarms(spread(noise(500, 1).repeat(1, 40)), true)
    assert alarm.startswith("the effective rank of imagined latents is 1.0, of true ones 3")


def test_dimensions_that_are_dead_in_truth_may_be_dead_in_imagination():
    half = HEALTHY * (torch.arange(40) < 20)
    assert imagined_alarms(spread(half), spread(half)) == []


def test_alarms_are_lines_on_stderr_and_a_number(capsys):
    assert sound("encoder", ["this", "that"]) == 2.0
    assert sound("encoder", []) == 0.0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Alarm in stage encoder, a sign of collapse: this.",
        "Alarm in stage encoder, a sign of collapse: that.",
    ]


@pytest.mark.parametrize(("fault", "alarms"), [(False, 0.0), (True, 1.0)])
def test_a_constant_encoder_raises_the_alarm_in_its_validation(fault, alarms, capsys):
    draw = torch.Generator().manual_seed(0)
    episodes = Episodes(
        pixels=torch.randint(0, 256, (6, 5, 16, 16, 3), dtype=torch.uint8, generator=draw),
        actions=noise(6, 4, 2),
        proprio=noise(6, 5, 2),
        train=torch.arange(4).numpy(),
        validation=torch.tensor([4, 5]).numpy(),
        sha256="",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = build_encoder(
            {"family": "compact", "image_size": 16, "channels": [4, 8, 8], "mixing": 0, "latent_dim": 4}
        )
        training = EncoderTraining(
            encoder, episodes, {"seed": 0, "batch_size": 4, "proprio": 0.0, "state": 0.0}, alarms=True
        )
    last = encoder.net[-1]
    with torch.no_grad():
        last.weight.mul_(0.0 if fault else 10.0)  # ten times: as wide as training makes it
    assert training.validate()["alarm"] == alarms
    assert ("Alarm in stage encoder" in capsys.readouterr().err) == fault
