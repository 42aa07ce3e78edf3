"""PSPNet (Zhao et al., Pyramid Scene Parsing Network, 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, resize
from omma.registry import register
from omma_segmentation.losses import PixelLoss
from omma_segmentation.models.heads.decode_head import DecodeHead


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


@register
class PSPHead(DecodeHead):
    """The last map beside its averages over grids of several sizes.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of the averages and of what is classified.
        num_classes: C.
        loss: on the logits.
        grids: cells along each side.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how averages and logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        in_index: int = -1,
        channels: int,
        num_classes: int,
        loss: PixelLoss | tuple[PixelLoss, ...],
        grids: tuple[int, ...] = (1, 2, 3, 6),
        norm: NormKind = "sync_bn",
        dropout: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            channels=channels,
            num_classes=num_classes,
            loss=loss,
            dropout=dropout,
            align_corners=align_corners,
        )
        self.psp_modules = PyramidPooling(
            grids=grids, in_channels=in_channels, channels=channels, norm=norm, align_corners=align_corners
        )
        self.bottleneck = ConvNormAct(in_channels + len(grids) * channels, channels, 3, padding=1, norm=norm)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to logits (N, C, H, W)."""
        (x,) = self.select(maps)
        return self.classify(self.bottleneck(torch.cat([x, *self.psp_modules(x)], dim=1)))
