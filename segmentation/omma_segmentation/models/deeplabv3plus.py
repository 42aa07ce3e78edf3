"""DeepLabV3+ (Chen et al., Encoder-Decoder with Atrous Separable Convolution, 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, SeparableConv, resize
from omma.registry import register
from omma_segmentation.models.heads.atrous_pyramid import AtrousPyramidHead
from omma_segmentation.models.heads.decode_head import PixelLosses


@register
class SeparableASPPHead(AtrousPyramidHead):
    """Atrous spatial pyramid pooling of the last map, sharpened by a fine one; separable convolutions.

    Args:
        in_channels: of the fine map and of the last one.
        in_index: which maps these are.
        channels: width of each branch and of what is classified.
        fine_channels: width that the fine map is reduced to.
        num_classes: C.
        loss: on the logits.
        dilations: of the branches; 1: a 1x1 convolution, others 3x3.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how maps and logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, int],
        in_index: tuple[int, int] = (0, -1),
        channels: int,
        fine_channels: int = 48,
        num_classes: int,
        loss: PixelLosses,
        dilations: tuple[int, ...] = (1, 12, 24, 36),
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
            dilations=dilations,
            separable=True,
            norm=norm,
            dropout=dropout,
            align_corners=align_corners,
        )
        self.c1_bottleneck = ConvNormAct(in_channels[0], fine_channels, 1, norm=norm)
        self.sep_bottleneck = nn.Sequential(
            SeparableConv(channels + fine_channels, channels, 3, padding=1, norm=norm),
            SeparableConv(channels, channels, 3, padding=1, norm=norm),
        )

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W) of the fine map's size."""
        fine, coarse = self.select(maps)
        detail = self.c1_bottleneck(fine)
        context = resize(self.pyramid(coarse), detail, align_corners=self.align_corners)
        return self.sep_bottleneck(torch.cat([context, detail], dim=1))
