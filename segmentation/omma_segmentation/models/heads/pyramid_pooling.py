"""Averages over coarse grids (Zhao et al., Pyramid Scene Parsing Network, 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, resize


class PyramidPooling(nn.ModuleList):
    """A map averaged over coarse grids: one map per grid, each at the size of what came in.

    Args:
        grids: cells along each side.
        in_channels: of the map.
        channels: of each result.
        norm: kind of the norms.
        align_corners: how the results are resized.
    """

    def __init__(
        self, *, grids: tuple[int, ...], in_channels: int, channels: int, norm: NormKind, align_corners: bool
    ) -> None:
        super().__init__(
            nn.Sequential(nn.AdaptiveAvgPool2d(grid), ConvNormAct(in_channels, channels, 1, norm=norm))
            for grid in grids
        )
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> (N, channels, H, W) for each grid."""
        return [resize(pool(x), x, align_corners=self.align_corners) for pool in self]
