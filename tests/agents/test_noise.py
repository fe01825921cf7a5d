"""Planner noise is a function of its key alone."""

from __future__ import annotations

import pytest
import torch

from jepawm_agents.planners.noise import EpisodeNoise

SHAPE = (1, 50, 6, 10)


def draw(seed: int = 1, episode: int = 2, replan: int = 0, iteration: int = 0) -> torch.Tensor:
    return EpisodeNoise([(seed, episode)], replan).normal(iteration, SHAPE)


@pytest.mark.parametrize("part", ["seed", "episode", "replan", "iteration"])
def test_every_part_of_the_key_changes_the_numbers(part):
    draws = [draw(**{part: value}) for value in range(4)]
    for i, one in enumerate(draws):
        for other in draws[i + 1 :]:
            assert (one != other).float().mean() > 0.99


def test_parts_of_the_key_are_not_interchangeable():
    keys = [(1, 2, 3, 4), (2, 1, 3, 4), (1, 3, 2, 4), (1, 2, 4, 3), (4, 3, 2, 1)]
    assert len({draw(*key).numpy().tobytes() for key in keys}) == len(keys)


def test_the_same_key_gives_the_same_numbers_in_any_batch_and_order():
    keys = [(1, 5), (1, 2), (9, 2)]
    together = EpisodeNoise(keys, 0).normal(3, (3, *SHAPE[1:]))
    for row, (seed, episode) in enumerate(keys):
        assert torch.equal(together[row : row + 1], draw(seed, episode, iteration=3))
    assert torch.equal(EpisodeNoise(keys[::-1], 0).normal(3, (3, *SHAPE[1:])), together.flip(0))


def test_numbers_are_standard_normal():
    numbers = EpisodeNoise([(0, episode) for episode in range(8)], 0).normal(0, (8, 300, 6, 10))
    assert numbers.dtype == torch.float32
    assert abs(float(numbers.mean())) < 0.01 and abs(float(numbers.std()) - 1) < 0.01


def test_drawing_leaves_the_global_generators_alone():
    state = torch.random.get_rng_state()
    draw()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_batch_of_another_size_is_refused():
    with pytest.raises(ValueError, match="Noise for 1 episodes was asked for 2"):
        EpisodeNoise([(0, 0)], 0).normal(0, (2, 3))
