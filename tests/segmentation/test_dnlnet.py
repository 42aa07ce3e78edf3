"""DNLNet's attention against its formula."""

from __future__ import annotations

import pytest
import torch

from omma_segmentation.models.dnlnet import DisentangledContext

from .formulas import at, drawn


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def test_disentangled_attention_is_whitened_pairs_and_a_mask_of_pixels():
    module = drawn(DisentangledContext(temperature=0.5).make(8, "bn"))
    x = torch.randn(2, 8, 3, 4).double()
    for image, found in zip(x, module(x)):
        query, key, value = (at(module.get_submodule(name), image) for name in ("theta", "phi", "g"))
        likeness = (query - query.mean(0)) @ (key - key.mean(0)).T / 4**0.5 / 0.5
        pairs = likeness.softmax(1) @ value
        unary = at(module.get_submodule("conv_mask"), image).softmax(0).T @ value
        out = module.get_submodule("conv_out")
        added = [out(rows.T.view(1, 4, *size))[0] for rows, size in ((pairs, (3, 4)), (unary, (1, 1)))]
        torch.testing.assert_close(found, image + added[0] + added[1])
