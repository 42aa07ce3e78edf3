"""Atrous spatial pyramid pooling (Chen et al., Rethinking Atrous Convolution, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, SeparableConv, resize
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


class AtrousPyramidHead(FeatureHead):
    """A map under convolutions of several dilations, and its average, joined.

    Args:
        in_channels: of the maps; the last one is the map of the pyramid.
        in_index: which maps.
        channels: width of each branch and of what is classified.
        num_classes: C.
        loss: on the logits.
        dilations: of the branches; 1: a 1x1 convolution, others 3x3.
        separable: depthwise separable 3x3 convolutions in the branches.
        projection: a 1x1 convolution joins the branches before the 3x3 one, as in torchvision.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how maps and logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: int | tuple[int, ...],
        in_index: int | tuple[int, ...],
        channels: int,
        num_classes: int,
        loss: PixelLosses,
        dilations: tuple[int, ...],
        separable: bool,
        projection: bool = False,
        norm: NormKind,
        dropout: float,
        align_corners: bool,
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
        entering = self.in_channels[-1]
        convolution = SeparableConv if separable else ConvNormAct
        self.image_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvNormAct(entering, channels, 1, norm=norm)
        )
        self.aspp_modules = nn.ModuleList(
            ConvNormAct(entering, channels, 1, norm=norm)
            if dilation == 1
            else convolution(entering, channels, 3, padding=dilation, dilation=dilation, norm=norm)
            for dilation in dilations
        )
        joined = (len(dilations) + 1) * channels
        self.projection = ConvNormAct(joined, channels, 1, norm=norm) if projection else None
        self.bottleneck = ConvNormAct(channels if projection else joined, channels, 3, padding=1, norm=norm)

    def pyramid(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H, W)."""
        whole = resize(self.image_pool(x), x, align_corners=self.align_corners)
        joined = torch.cat([whole, *(branch(x) for branch in self.aspp_modules)], dim=1)
        return self.bottleneck(joined if self.projection is None else self.projection(joined))
