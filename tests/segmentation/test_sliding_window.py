"""A sliding window sees every pixel, and gives a pixelwise network's own result."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omma_segmentation.models.sliding_window import SlidingWindow


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    tile=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    tiles=st.integers(1, 5),
    data=st.data(),
)
def test_a_pixelwise_network_gives_the_same_as_on_the_whole(size, tile, tiles, data):
    strides = [data.draw(st.integers(1, side)) for side in tile]
    window = SlidingWindow(
        height=tile[0], width=tile[1], stride_height=strides[0], stride_width=strides[1], tiles=tiles
    )
    images = torch.rand(2, 3, *size)
    seen = []

    def network(x):
        seen.append(tuple(x.shape[-2:]))
        return torch.cat([x, x**2], dim=1)

    torch.testing.assert_close(window(network, images), network(images))
    assert all(height <= tile[0] and width <= tile[1] for height, width in seen[:-1])


def test_logits_are_averaged_where_tiles_overlap():
    window = SlidingWindow(height=4, width=4, stride_height=4, stride_width=2)
    starts = iter((0.0, 1.0))

    def network(x):
        return torch.cat([torch.full((1, 1, 4, 4), next(starts)) for _ in range(len(x))])

    logits = window(network, torch.zeros(1, 3, 4, 6))
    assert logits[0, 0, 0].tolist() == [0, 0, 0.5, 0.5, 1, 1]


def test_gaps_between_tiles_are_refused():
    with pytest.raises(ValueError, match="no pixel is left out"):
        SlidingWindow(height=4, width=4, stride_height=5, stride_width=4)
