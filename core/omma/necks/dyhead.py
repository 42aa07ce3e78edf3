"""Dynamic head (Dai et al., Dynamic Head: Unifying Object Detection Heads with Attentions, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, GuidedDeformConv2d, init_conv
from omma.necks.base import Neck
from omma.registry import register

_GROUPS = 16
"""Of the group norm behind each deformable convolution."""
_TAPS = 9


@register
class DyHead(Neck):
    """Blocks of attention over levels, places and channels; the maps keep their sizes.

    Args:
        in_channels: channels of each level, the same for all.
        out_channels: channels of every level.
        num_blocks: blocks in a row.
        zero_offsets: taps start where those of ordinary convolutions are.

    Raises:
        ValueError: the levels differ in channels.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: int = 256,
        num_blocks: int = 6,
        zero_offsets: bool = True,
    ) -> None:
        super().__init__()
        if len(set(in_channels)) != 1:
            raise ValueError(f"in_channels must be the same for every level, got {in_channels}")
        self.in_channels = in_channels
        self.out_channels = (out_channels,) * len(in_channels)
        widths = (in_channels[0], *(out_channels,) * num_blocks)
        self.dyhead_blocks = nn.Sequential(
            *(DyHeadBlock(a, b, zero_offsets=zero_offsets) for a, b in pairwise(widths))
        )

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the maps that come in."""
        return strides

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels (N, C, H_i, W_i) -> (N, C', H_i, W_i)."""
        return tuple(self.dyhead_blocks(list(maps)))


class DyHeadBlock(nn.Module):
    """Reads each level and its neighbours at places that the level chooses, weighs the three, then acts.

    Args:
        in_channels: C of every level.
        out_channels: C' of every level.
        zero_offsets: taps start where those of ordinary convolutions are.
    """

    def __init__(self, in_channels: int, out_channels: int, *, zero_offsets: bool = True) -> None:
        super().__init__()
        self.spatial_conv_high = _DeformNorm(in_channels, out_channels)
        self.spatial_conv_mid = _DeformNorm(in_channels, out_channels)
        self.spatial_conv_low = _DeformNorm(in_channels, out_channels, stride=2)
        self.spatial_conv_offset = nn.Conv2d(in_channels, 3 * _TAPS, 3, padding=1)
        self.scale_attn_module = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(out_channels, 1, 1), nn.ReLU(inplace=True), nn.Hardsigmoid()
        )
        self.task_attn_module = DynamicReLU(out_channels)
        init_conv(self, std=0.01)
        if zero_offsets:
            for value in self.spatial_conv_offset.parameters():
                nn.init.zeros_(value)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Levels, fine to coarse, (N, C, H_i, W_i) -> (N, C', H_i, W_i)."""
        return [self._level(maps, i) for i in range(len(maps))]

    def _level(self, maps: list[Tensor], i: int) -> Tensor:
        found = self.spatial_conv_offset(maps[i])
        offset, mask = found[:, : 2 * _TAPS], found[:, 2 * _TAPS :].sigmoid()
        parts = [self.spatial_conv_mid(maps[i], offset, mask)]
        if i > 0:
            parts.append(self.spatial_conv_low(maps[i - 1], offset, mask))
        if i < len(maps) - 1:
            # The coarser map is convolved at its own size and enlarged afterwards. The kernel that published
            # weights were trained with is handed the finer level's offsets all the same, of whose memory it
            # takes what comes first as that of maps of its own size.
            h, w = maps[i + 1].shape[-2:]
            high = self.spatial_conv_high(maps[i + 1], _start(offset, h, w), _start(mask, h, w))
            parts.append(F.interpolate(high, size=maps[i].shape[-2:], mode="bilinear", align_corners=True))
        mean = torch.stack([part * self.scale_attn_module(part) for part in parts]).mean(dim=0)
        return self.task_attn_module(mean)


def _start(x: Tensor, height: int, width: int) -> Tensor:
    """The first values of (N, C, H, W) as (N, C, height, width)."""
    channels = x.shape[1]
    return x.flatten(1)[:, : channels * height * width].reshape(-1, channels, height, width)


class _DeformNorm(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = GuidedDeformConv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(_GROUPS, out_channels)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return self.norm(self.conv(x, offset, mask))


class DynamicReLU(nn.Module):
    """The larger of two lines for each channel, whose slopes and offsets depend on the image.

    Chen et al., Dynamic ReLU, 2020. Parameter names are OpenMMLab's.

    Args:
        channels: C.
        reduction: the lines are found through C / reduction channels.
    """

    def __init__(self, channels: int, *, reduction: int = 4) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(channels, channels // reduction, 1)
        self.conv2 = ConvNormAct(channels // reduction, channels * 4, 1, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        lines = F.hardsigmoid(self.conv2(self.conv1(x.mean(dim=(2, 3), keepdim=True)))) - 0.5
        slope1, offset1, slope2, offset2 = lines.chunk(4, dim=1)
        return torch.maximum(x * (slope1 * 2 + 1) + offset1, x * slope2 * 2 + offset2)
