"""ISANet's attention against masks over all pairs of pixels."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from omma_segmentation.models.isanet import SelfAttention, interlaced

from .formulas import at, drawn


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def test_interlaced_attention_is_attention_apart_and_then_within_tiles():
    apart, near = (drawn(SelfAttention(6, 4, norm="bn")) for _ in range(2))
    x = torch.randn(2, 6, 6, 8).double()
    # The same by masks over all pairs of pixels.
    places = torch.tensor(list(product(range(6), range(8))))
    tile = places // torch.tensor([3, 4])
    within = places % torch.tensor([3, 4])
    expected = x
    for module, kind in ((apart, within), (near, tile)):
        allowed = (kind[:, None] == kind).all(-1)
        rows = []
        for image in expected:
            query, key, value = (
                at(module.get_submodule(f"{name}_project"), image) for name in ("query", "key", "value")
            )
            likeness = (query @ key.T / 4**0.5).masked_fill(~allowed, -torch.inf)
            rows.append((likeness.softmax(1) @ value).T.view(1, 6, 6, 8))
        expected = module.get_submodule("output_project")(torch.cat(rows))
    torch.testing.assert_close(interlaced(x, (3, 4), apart, near), expected)


@torch.no_grad()
def test_a_map_that_tiles_do_not_divide_is_padded_around():
    x = torch.randn(1, 3, 5, 7)
    seen: list[Tensor] = []

    def keep(tiles: Tensor) -> Tensor:
        seen.append(tiles)
        return tiles

    assert torch.equal(interlaced(x, (4, 4), nn.Identity(), nn.Identity()), x)
    interlaced(x, (4, 4), keep, nn.Identity())
    assert seen[0].shape == (16, 3, 2, 2)
    # One row above and two below, and no column at the left.
    assert (seen[0][0, :, 0] == 0).all()
    assert torch.equal(seen[0][0, :, 1, 0], x[0, :, 3, 0])
