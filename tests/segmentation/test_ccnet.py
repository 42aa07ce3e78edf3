"""CCNet's attention, again and again."""

from __future__ import annotations

import pytest
import torch

from omma.layers import CrissCrossAttention
from omma_segmentation.models.ccnet import CrissCrossContext

from .formulas import drawn


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def test_criss_cross_context_reaches_every_pixel_in_two_steps():
    module = drawn(CrissCrossContext(times=2).make(8, "bn"))
    once = drawn(CrissCrossAttention(8))
    once.load_state_dict(module.state_dict())
    x = torch.randn(1, 8, 5, 6).double()
    torch.testing.assert_close(module(x), once(once(x)))
    moved = x.clone()
    moved[..., 0, 0] += 1
    assert (module(moved) - module(x)).abs().amax(1).min() > 0
    assert (once(moved) - once(x)).abs().amax(1).min() == 0
