"""What tests of modules against their papers' formulas have in common."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def drawn(module: M) -> M:
    """The module in double precision with random parameters everywhere, so that nothing is an identity."""
    for value in module.parameters():
        nn.init.normal_(value, std=0.3)
    return module.double().eval()


def at(layer: nn.Module, x: Tensor) -> Tensor:
    """A 1x1 convolution of (C, H, W) as rows (P, C')."""
    return layer(x[None])[0].flatten(1).T
