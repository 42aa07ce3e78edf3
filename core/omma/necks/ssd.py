"""Extra levels of SSD (Liu et al., SSD: Single Shot MultiBox Detector, 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.layers import Activation, ConvNormAct, NormKind, SeparableConv, init_conv
from omma.necks.base import Neck
from omma.registry import register


@register
class SSDNeck(Neck):
    """The backbone's maps, the first one scaled by position, and coarser levels by convolutions.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        out_channels: channels of every level; the first ones are the backbone's.
        strides: of the convolution to each extra level.
        paddings: likewise.
        last_kernel: kernel of the convolution to the last level, pixels.
        l2_scale: initial length of the first map's vectors, which are normalised; null: leave the map.
        depthwise: separable convolutions to the extra levels (SSDLite).
        norm: kind of norm after each convolution.
        act: activation after each convolution.
        nominal_strides: input pixels per position of every level, where convolutions without padding make
            the maps smaller than strides say; null: from the strides.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: tuple[int, ...],
        strides: tuple[int, ...],
        paddings: tuple[int, ...],
        last_kernel: int = 3,
        l2_scale: float | None = 20.0,
        depthwise: bool = False,
        norm: NormKind | None = None,
        act: Activation = "relu",
        nominal_strides: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        given = len(in_channels)
        if tuple(out_channels[:given]) != tuple(in_channels):
            raise ValueError(f"out_channels must begin with {in_channels}, got {out_channels}")
        if not len(strides) == len(paddings) == len(out_channels) - given:
            raise ValueError(
                f"{len(out_channels) - given} extra levels need as many strides and paddings, "
                f"got {strides} and {paddings}"
            )
        if nominal_strides is not None and len(nominal_strides) != len(out_channels):
            raise ValueError(f"nominal_strides must have {len(out_channels)} entries, got {nominal_strides}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.level_strides = strides
        self.nominal_strides = nominal_strides
        self.l2_norm = L2Norm(in_channels[0], l2_scale) if l2_scale is not None else None
        self.extra_layers = nn.ModuleList()
        conv = SeparableConv if depthwise else ConvNormAct
        before = in_channels[-1]
        for i, (width, stride, padding) in enumerate(zip(out_channels[given:], strides, paddings)):
            kernel = last_kernel if i == len(strides) - 1 else 3
            narrow = ConvNormAct(before, width // 2, 1, norm=norm, act=act)
            step = conv(width // 2, width, kernel, stride=stride, padding=padding, norm=norm, act=act)
            self.extra_layers.append(nn.Sequential(narrow, step))
            before = width
        init_conv(self, kind="xavier")

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the maps, then each times the stride of its convolution; or the nominal ones."""
        if self.nominal_strides is not None:
            return self.nominal_strides
        out = list(strides)
        for step in self.level_strides:
            out.append(out[-1] * step)
        return tuple(out)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> all levels, (N, out_channels[i], H_i, W_i)."""
        levels = list(maps)
        if self.l2_norm is not None:
            levels[0] = self.l2_norm(levels[0])
        for layer in self.extra_layers:
            levels.append(layer(levels[-1]))
        return tuple(levels)


class L2Norm(nn.Module):
    """Vectors of unit length at every position, times a learnt factor for each channel."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        # In float32: the sum of squares leaves half precision's range.
        wide = x.float()
        length = wide.square().sum(dim=1, keepdim=True).sqrt() + 1e-10
        return (self.weight[:, None, None] * wide / length).to(x.dtype)
