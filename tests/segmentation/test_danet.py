"""DANet's two attentions against their formulas."""

from __future__ import annotations

import pytest
import torch

from omma_segmentation.models.danet import ChannelAttention, PositionAttention

from .formulas import at, drawn


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def test_channels_attend_to_those_least_like_them():
    module = drawn(ChannelAttention())
    x = torch.randn(2, 5, 3, 4).double()
    for image, found in zip(x, module(x)):
        rows = image.flatten(1)
        energy = rows @ rows.T
        share = (energy.max(1, keepdim=True).values - energy).softmax(1)
        expected = module.gamma.scale * (share @ rows).view_as(image) + image
        torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_pixels_attend_to_all_by_unscaled_products():
    module = drawn(PositionAttention(6, 2))
    x = torch.randn(1, 6, 3, 4).double()
    query, key, value = (
        at(module.get_submodule(f"{name}_project"), x[0]) for name in ("query", "key", "value")
    )
    seen = ((query @ key.T).softmax(1) @ value).T.view(6, 3, 4)
    torch.testing.assert_close(module(x)[0], module.gamma.scale * seen + x[0])
