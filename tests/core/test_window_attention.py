"""Attention within windows and patch merging against plain formulas."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from omma.layers import PatchMerging, WindowAttention, attend_in_windows
from omma.layers.window_attention import relative_positions


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def row_of(offset: tuple[int, ...], sides: tuple[int, ...]) -> int:
    row = 0
    for step, side in zip(offset, sides):
        row = row * (2 * side - 1) + step + side - 1
    return row


@pytest.mark.parametrize("sides", [(3, 3), (2, 3, 4)])
def test_each_offset_has_a_row_of_its_own(sides: tuple[int, ...]):
    places = list(itertools.product(*map(range, sides)))
    rows = relative_positions(sides)
    for (i, a), (j, b) in itertools.product(enumerate(places), repeat=2):
        assert rows[i, j] == row_of(tuple(x - y for x, y in zip(a, b)), sides)
    assert int(rows.max()) == math.prod(2 * side - 1 for side in sides) - 1


def all_to_all(
    attention: WindowAttention, x: Tensor, size: tuple[int, ...], shift: tuple[int, ...]
) -> Tensor:
    """Attention among all positions of a map, of which those see each other that share a shifted cell."""
    sides = x.shape[1:-1]
    padded = F.pad(x, (0, 0, *(n for side, w in zip(sides[::-1], size[::-1]) for n in (0, -side % w))))
    places = list(itertools.product(*map(range, padded.shape[1:-1])))
    heads = attention.heads
    query, key, value = (
        attention.qkv(padded.flatten(1, -2)).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    )
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    for (i, a), (j, b) in itertools.product(enumerate(places), repeat=2):
        cells = [tuple((p - s) // w for p, s, w in zip(place, shift, size)) for place in (a, b)]
        if cells[0] == cells[1]:
            offset = tuple(p - q for p, q in zip(a, b))
            scores[..., i, j] += attention.relative_position_bias_table[row_of(offset, size)]
        else:
            scores[..., i, j] = -torch.inf
    seen = attention.proj((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
    return seen.view(padded.shape)[(slice(None), *(slice(side) for side in sides))]


@pytest.mark.parametrize(
    ("sides", "size", "shift"),
    [
        ((5, 4), (3, 3), (0, 0)),
        ((5, 4), (3, 3), (1, 1)),
        ((3, 4, 5), (2, 2, 3), (1, 1, 1)),
        ((3, 4, 5), (2, 2, 3), (0, 1, 1)),
    ],
)
@torch.no_grad()
def test_windows_equal_attention_of_all_to_all_under_a_mask(
    sides: tuple[int, ...], size: tuple[int, ...], shift: tuple[int, ...]
):
    attention = WindowAttention(4, 2, size).double()
    torch.nn.init.normal_(attention.relative_position_bias_table)
    x = torch.randn(1, *sides, 4, dtype=torch.float64)
    expected = all_to_all(attention, x, size, shift)
    torch.testing.assert_close(attend_in_windows(attention, x, size=size, shift=shift), expected)


@torch.no_grad()
def test_windows_of_fewer_frames_have_the_biases_of_their_offsets():
    attention = WindowAttention(4, 2, (3, 2, 2)).double()
    torch.nn.init.normal_(attention.relative_position_bias_table)
    fewer = WindowAttention(4, 2, (1, 2, 2)).double()
    of_offset_zero = attention.relative_position_bias_table.unflatten(0, (5, 9))[2]
    state = attention.state_dict() | {"relative_position_bias_table": of_offset_zero}
    fewer.load_state_dict(state)
    windows = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(attention(windows, None), fewer(windows, None))


@pytest.mark.parametrize("sides", [(4, 6), (2, 3, 5)])
@torch.no_grad()
def test_merging_takes_values_in_the_order_of_the_publisher(sides: tuple[int, ...]):
    x = torch.randn(2, *sides, 3)
    filled = F.pad(x, (0, 0, 0, sides[-1] % 2, 0, sides[-2] % 2))
    by_column = PatchMerging(3, order="columns")
    parts = [filled[..., i::2, j::2, :] for j in (0, 1) for i in (0, 1)]
    expected = by_column.reduction(by_column.norm(torch.cat(parts, dim=-1)))
    torch.testing.assert_close(by_column(x), expected)
    by_channel = PatchMerging(3, order="channels")
    images = filled.flatten(0, -4).permute(0, 3, 1, 2)
    unfolded = F.unfold(images, 2, stride=2).mT.unflatten(1, expected.shape[-3:-1])
    expected = by_channel.reduction(by_channel.norm(unfolded)).view(expected.shape)
    torch.testing.assert_close(by_channel(x), expected)
