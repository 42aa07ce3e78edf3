"""PSPNet (Zhao et al., Pyramid Scene Parsing Network, 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.layers import ConvNormAct, NormKind
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses
from omma_segmentation.models.heads.pyramid_pooling import PyramidPooling


@register
class PSPHead(FeatureHead):
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
        loss: PixelLosses,
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

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        (x,) = self.select(maps)
        return self.bottleneck(torch.cat([x, *self.psp_modules(x)], dim=1))
