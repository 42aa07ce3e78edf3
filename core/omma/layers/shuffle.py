"""Channel shuffle (Zhang et al., ShuffleNet, 2017) and the unit of ShuffleNetV2 (Ma et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.layers.conv import ConvNormAct
from omma.layers.norm import NormKind


def shuffle(x: Tensor, groups: int) -> Tensor:
    """(N, C, H, W) with its channels dealt out in turn: the first of each group, the second of each ..."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class ShuffleUnit(nn.Module):
    """Half of the channels through three convolutions, then all of them shuffled.

    With a stride all channels go into both halves: (N, C, H, W) to (N, C', H / 2, W / 2).

    Args:
        in_channels: C.
        out_channels: C'; without a stride those of the input.
        stride: 1 or 2.
        norm: kind of the norms.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: NormKind) -> None:
        super().__init__()
        if stride == 1 and in_channels != out_channels:
            raise ValueError(f"without a stride the channels stay {in_channels}, got {out_channels}")
        half = out_channels // 2
        entering = half if stride == 1 else in_channels
        self.branch1 = None if stride == 1 else _separable(in_channels, half, stride=stride, norm=norm)
        self.branch2 = nn.Sequential(
            ConvNormAct(entering, half, 1, norm=norm), *_separable(half, half, stride=stride, norm=norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        if self.branch1 is None:
            first, second = x.chunk(2, dim=1)
        else:
            first, second = self.branch1(x), x
        return shuffle(torch.cat([first, self.branch2(second)], dim=1), 2)


def _separable(in_channels: int, out_channels: int, *, stride: int, norm: NormKind) -> nn.Sequential:
    depthwise = ConvNormAct(
        in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels, norm=norm, act=None
    )
    return nn.Sequential(depthwise, ConvNormAct(in_channels, out_channels, 1, norm=norm))
