"""Pyramids of the maps of a plain transformer, which all have one resolution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, LayerNorm2d, NormKind, init_conv, make_norm
from omma.necks.base import Neck
from omma.registry import register


@register
class MultiLevelNeck(Neck):
    """Each map at a scale of its own, by interpolation between two convolutions.

    Args:
        in_channels: of the maps.
        out_channels: of every level.
        scales: size of each level relative to its map.
        norm: kind of norm after each convolution; null: none.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: int,
        scales: tuple[float, ...] = (4, 2, 1, 0.5),
        norm: NormKind | None = None,
    ) -> None:
        super().__init__()
        if len(scales) != len(in_channels):
            raise ValueError(f"expected one scale per map, got {scales} for {len(in_channels)} maps")
        self.in_channels, self.out_channels = tuple(in_channels), (out_channels,) * len(scales)
        self.scales = tuple(scales)
        self.lateral_convs = nn.ModuleList(
            ConvNormAct(width, out_channels, 1, norm=norm, act=None) for width in in_channels
        )
        self.convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, padding=1, norm=norm, act=None) for _ in scales
        )
        init_conv(self, kind="xavier")

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the maps, divided by the scales."""
        return tuple(int(stride / scale) for stride, scale in zip(strides, self.scales, strict=True))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H, W) -> (N, out_channels, scales[i] H, scales[i] W)."""
        levels = []
        for x, lateral, conv, scale in zip(maps, self.lateral_convs, self.convs, self.scales, strict=True):
            x = lateral(x)
            if scale != 1:
                x = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
            levels.append(conv(x))
        return tuple(levels)


@register
class Feature2Pyramid(Neck):
    """Four maps at 4, 2, 1 and 1/2 times their size, by transposed convolutions and pooling (BEiT, 2021).

    Args:
        in_channels: of the four maps, the same for all; of the levels, too.
        norm: kind of the norm between the two transposed convolutions.
    """

    def __init__(self, *, in_channels: tuple[int, int, int, int], norm: NormKind = "sync_bn") -> None:
        super().__init__()
        if len(set(in_channels)) != 1 or len(in_channels) != 4:
            raise ValueError(f"in_channels must be four times the same number, got {in_channels}")
        width = in_channels[0]
        self.in_channels = self.out_channels = tuple(in_channels)
        self.upsample_4x = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2),
            make_norm(norm, width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, stride=2),
        )
        self.upsample_2x = nn.Sequential(nn.ConvTranspose2d(width, width, 2, stride=2))

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """A quarter, a half, the same and twice."""
        first, second, third, last = strides
        return first // 4, second // 2, third, last * 2

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Four maps (N, C, H, W) -> sizes 4 H, 2 H, H and H // 2."""
        first, second, third, last = maps
        return self.upsample_4x(first), self.upsample_2x(second), third, F.max_pool2d(last, 2)


@register
class MLANeck(Neck):
    """Multi-level aggregation: maps are summed from the last one on, each sum is convolved (SETR, 2020).

    The first level is that of the last map alone, the last one that of all.

    Args:
        in_channels: of the maps.
        out_channels: of every level.
        norm: kind of norm after each convolution.
    """

    def __init__(
        self, *, in_channels: tuple[int, ...], out_channels: int = 256, norm: NormKind = "sync_bn"
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = tuple(in_channels), (out_channels,) * len(in_channels)
        self.norm = nn.ModuleList(LayerNorm2d(width, eps=1e-6) for width in in_channels)
        self.mla = MultiLevelAggregation(in_channels, out_channels, norm)

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the maps, which are all the same."""
        return strides

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H, W) of one size -> (N, out_channels, H, W) each."""
        return self.mla([norm(x) for norm, x in zip(self.norm, maps, strict=True)])


class MultiLevelAggregation(nn.Module):
    """Maps (N, C_i, H, W) at one width, summed from the last to the first, and convolved."""

    def __init__(self, in_channels: tuple[int, ...], out_channels: int, norm: NormKind) -> None:
        super().__init__()
        self.channel_proj = nn.ModuleList(ConvNormAct(c, out_channels, 1, norm=norm) for c in in_channels)
        self.feat_extract = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, padding=1, norm=norm) for _ in in_channels
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One level for each map, that of the last map first."""
        projected = [project(x) for project, x in zip(self.channel_proj, maps, strict=True)]
        sums = accumulate(reversed(projected), torch.add)
        return tuple(conv(x) for conv, x in zip(self.feat_extract, sums, strict=True))
