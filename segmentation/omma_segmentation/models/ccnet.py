"""CCNet (Huang et al., Criss-Cross Attention for Semantic Segmentation, 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from omma.layers import CrissCrossAttention, NormKind
from omma.registry import register
from omma_segmentation.models.heads.context import Context


@register
@dataclass(kw_only=True, frozen=True)
class CrissCrossContext(Context):
    """Attention of every pixel to its row and column, again and again: two times reach every pixel."""

    name = "cca"

    times: int = 2
    """How often, with the same weights."""

    def make(self, channels: int, norm: NormKind) -> RecurrentCrissCross:
        """(N, channels, H, W) to the same shape; there are no norms in it."""
        return RecurrentCrissCross(channels, times=self.times)


class RecurrentCrissCross(CrissCrossAttention):
    """Criss-cross attention to what criss-cross attention gave.

    Args:
        channels: C.
        times: how often.
    """

    def __init__(self, channels: int, *, times: int) -> None:
        super().__init__(channels)
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        for _ in range(self.times):
            x = super().forward(x)
        return x
