"""HRFPN (Wang et al., Deep High-Resolution Representation Learning for Visual Recognition, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind, init_conv
from omma.necks.base import Neck
from omma.registry import register


@register
class HRFPN(Neck):
    """All of HRNet's branches brought to the finest's size and joined, then a pyramid by average pooling.

    Args:
        in_channels: channels of the branches, fine to coarse.
        out_channels: channels of every level.
        num_outs: number of levels.
        norm: kind of norm after each convolution.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: int = 256,
        num_outs: int = 5,
        norm: NormKind | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = (out_channels,) * num_outs
        self.reduction_conv = ConvNormAct(sum(in_channels), out_channels, 1, norm=norm, act=None)
        self.fpn_convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, padding=1, norm=norm, act=None)
            for _ in range(num_outs)
        )
        init_conv(self, kind="xavier")

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """The finest branch's, then each twice the one below."""
        return tuple(strides[0] * 2**i for i in range(len(self.out_channels)))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> ``num_outs`` maps of ``out_channels``."""
        size = maps[0].shape[-2:]
        enlarged = [F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps[1:]]
        joined = self.reduction_conv(torch.cat([maps[0], *enlarged], dim=1))
        pooled = [joined, *(F.avg_pool2d(joined, 2**i) for i in range(1, len(self.fpn_convs)))]
        return tuple(conv(m) for conv, m in zip(self.fpn_convs, pooled))
