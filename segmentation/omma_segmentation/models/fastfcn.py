"""FastFCN (Wu et al., Rethinking Dilated Convolution in the Backbone for Semantic Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, SeparableConv, resize
from omma.necks import Neck
from omma.registry import register


@register
class JPU(Neck):
    """Joint pyramid upsampling: a map like that of a dilated backbone, from those of a plain one.

    All maps are joined at the finest one's size and seen through convolutions of several dilations; the
    result takes the place of the coarsest map.

    Args:
        in_channels: of the maps, fine to coarse.
        channels: of each map when they are joined, and of each dilated convolution.
        dilations: of the convolutions.
        norm: kind of the norms.
        align_corners: how maps are resized.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...] = (512, 1024, 2048),
        channels: int = 512,
        dilations: tuple[int, ...] = (1, 2, 4, 8),
        norm: NormKind = "sync_bn",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = tuple(in_channels)
        self.out_channels = (*in_channels[:-1], len(dilations) * channels)
        self.align_corners = align_corners
        self.conv_layers = nn.ModuleList(
            nn.Sequential(ConvNormAct(c, channels, 3, padding=1, norm=norm)) for c in in_channels
        )
        self.dilation_layers = nn.ModuleList(
            nn.Sequential(
                SeparableConv(
                    len(in_channels) * channels,
                    channels,
                    3,
                    padding=dilation,
                    dilation=dilation,
                    norm=norm,
                    depthwise_act=False,
                )
            )
            for dilation in dilations
        )

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the maps, with the first one's for the last map."""
        return (*strides[:-1], strides[0])

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, C_i, H_i, W_i), fine to coarse, to the same with the new one last."""
        first, *rest = (conv(x) for conv, x in zip(self.conv_layers, maps, strict=True))
        joined = [first, *(resize(x, first, align_corners=self.align_corners) for x in rest)]
        x = torch.cat(joined, dim=1)
        return (*maps[:-1], torch.cat([layer(x) for layer in self.dilation_layers], dim=1))
