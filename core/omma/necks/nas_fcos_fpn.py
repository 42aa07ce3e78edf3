"""The pyramid that NAS-FCOS found (Wang et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct
from omma.necks.base import Neck
from omma.registry import register

_CELLS = {"c22_1": 2, "c22_2": 2, "c32": 1, "c02": 1, "c42": 2, "c36": 2, "c61": 2}
"""In order: the digits say which two maps so far they merge, the number how many of them are convolved."""


@register
class NASFCOSFPN(Neck):
    """Seven cells, each of which merges two of the maps so far; then coarser levels.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse, four.
        out_channels: channels of every level.
        num_outs: number of levels, from stride 8 on.

    Raises:
        ValueError: not four maps, or fewer than three levels.
    """

    def __init__(self, *, in_channels: tuple[int, ...], out_channels: int = 256, num_outs: int = 5) -> None:
        super().__init__()
        if len(in_channels) != 4 or num_outs < 3:
            raise ValueError(f"needs four maps and three levels, got {len(in_channels)} and {num_outs}")
        self.in_channels = in_channels
        self.out_channels = (out_channels,) * num_outs
        self.adapt_convs = nn.ModuleList(ConvNormAct(c, out_channels, 1, norm="bn") for c in in_channels[1:])
        cells = {name: MergeCell(out_channels, convolved) for name, convolved in _CELLS.items()}
        self.fpn = nn.ModuleDict(cells)
        self.extra_downsamples = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, stride=2, padding=1, act=None)
            for _ in range(num_outs - 3)
        )
        for extra in self.extra_downsamples:
            nn.init.kaiming_uniform_(extra.get_parameter("conv.weight"), a=1)
            nn.init.zeros_(extra.get_parameter("conv.bias"))

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the last three maps, then each extra level's twice that of the one below."""
        extra = (strides[-1] * 2**i for i in range(1, len(self.extra_downsamples) + 1))
        return (*strides[1:], *extra)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> ``num_outs`` maps of ``out_channels``."""
        found = [conv(m) for conv, m in zip(self.adapt_convs, maps[1:])]
        for name, cell in self.fpn.items():
            found.append(cell(found[int(name[1])], found[int(name[2])]))
        levels = []
        for m, like in zip((found[9], found[8], found[7]), maps[1:]):
            total = m + _resized(found[5], m)
            levels.append(_resized(total, like))
        for i, conv in enumerate(self.extra_downsamples):
            levels.append(conv(levels[-1].relu() if i else levels[-1]))
        return tuple(levels)


class MergeCell(nn.Module):
    """Two maps, one or both through a deformable convolution, side by side into one.

    Args:
        channels: of each map.
        convolved: how many of them are convolved, 1 or 2.
    """

    def __init__(self, channels: int, convolved: int) -> None:
        super().__init__()
        self.out_conv = _NormActConv(channels)
        self.input1_conv = _deformable(channels)
        self.input2_conv = _deformable(channels) if convolved == 2 else nn.Identity()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N, C, H, W) and (N, C, H', W') -> (N, C) of the larger height and width."""
        height, width = max(a.shape[-2:], b.shape[-2:])
        parts = [_fitted(part, (height, width)) for part in (self.input1_conv(a), self.input2_conv(b))]
        return self.out_conv(torch.cat(parts, dim=1))


class _NormActConv(nn.Module):
    """Norm and ReLU before a convolution of pairs of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, channels, 1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.bn(x).relu())


def _deformable(channels: int) -> ConvNormAct:
    return ConvNormAct(channels, channels, 3, padding=1, bias=True, norm="bn", deform=2, deform_groups=2)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _fitted(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="nearest")
