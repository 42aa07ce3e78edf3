"""Attention along rows and columns (Huang et al., CCNet, 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from omma.layers.scale import Scale
from omma.ops import criss_cross_attention


class CrissCrossAttention(nn.Module):
    """Adds to each pixel what it attends to in its row and column; the identity at first.

    Parameter names are OpenMMLab's.

    Args:
        channels: C; queries and keys have an eighth.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = Scale(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        seen = criss_cross_attention(self.query_conv(x), self.key_conv(x), self.value_conv(x))
        return self.gamma(seen) + x
