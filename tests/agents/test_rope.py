"""The position embedding against plain loops written from the formula of the facts sheet."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from jepawm_agents.world_models.rope import apply_rope, axis_width, rope_table, swap_pairs


def embed_by_loops(x: list[float], position: tuple[int, int, int]) -> list[float]:
    """One token: three slices of equal width (time, row, column), the rest untouched."""
    width = 2 * ((len(x) // 3) // 2)
    out = list(x)
    for axis, p in enumerate(position):
        for c in range(width):
            theta = p * 10000 ** (-(c % (width // 2)) / (width // 2))
            here = axis * width + c
            if c % 2 == 0:
                out[here] = x[here] * math.cos(theta) - x[here + 1] * math.sin(theta)
            else:
                out[here] = x[here] * math.cos(theta) + x[here - 1] * math.sin(theta)
    return out


def tokens(frames: int, height: int, width: int, head_dim: int) -> Tensor:
    return torch.randn(frames * height * width, head_dim, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("head_dim", [12, 20, 24, 25, 26, 64])
def test_the_table_equals_the_formula_written_as_loops(head_dim):
    x = tokens(3, 2, 4, head_dim)
    found = apply_rope(x, rope_table(3, 2, 4, head_dim))
    positions = [(t, i, j) for t in range(3) for i in range(2) for j in range(4)]
    expected = [embed_by_loops(row.tolist(), position) for row, position in zip(x, positions, strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("head_dim", "width"), [(25, 8), (64, 20), (26, 8), (12, 4)])
def test_widths_of_an_axis_are_those_of_the_facts_sheet(head_dim, width):
    assert axis_width(head_dim) == width


def test_the_first_token_and_the_channels_beyond_the_axes_are_untouched():
    x = tokens(2, 2, 2, 26)
    found = apply_rope(x, rope_table(2, 2, 2, 26))
    assert torch.equal(found[0], x[0])
    assert torch.equal(found[:, 24:], x[:, 24:])


def test_it_is_not_a_rotation_as_in_the_published_checkpoints():
    x = tokens(2, 1, 1, 12)
    assert not torch.allclose(apply_rope(x, rope_table(2, 1, 1, 12))[1].norm(), x[1].norm())


def test_a_window_of_later_frames_starts_again_at_zero():
    whole, part = rope_table(4, 2, 2, 24), rope_table(2, 2, 2, 24)
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one[:8], other)


@pytest.mark.parametrize(("before", "after"), [([1, 2, 3, 4], [2, 1, 4, 3]), ([1, 2, 3], [2, 1, 3])])
def test_pairs_are_swapped_and_an_odd_channel_stays(before, after):
    assert swap_pairs(torch.tensor(before)).tolist() == after


def test_condition_tokens_come_first_in_a_frame_and_are_turned_by_the_frame_alone():
    x = tokens(3, 1, 6, 26)  # two condition tokens, then one row of four
    found = apply_rope(x, rope_table(3, 1, 4, 26, conditions=2))
    places = [(t, 0, max(0, i - 2)) for t in range(3) for i in range(6)]
    expected = [embed_by_loops(row.tolist(), place) for row, place in zip(x, places, strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=2e-6)
    assert torch.equal(found.unflatten(0, (3, 6))[:, :2, 8:], x.unflatten(0, (3, 6))[:, :2, 8:])
