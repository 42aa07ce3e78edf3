"""Path aggregation of cross-stage partial layers (Ge et al., YOLOX, 2021; Lyu et al., RTMDet, 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import YOLO_NORM, CspKind, CspLayer, NormKind, yolo_conv
from omma.necks.base import Neck
from omma.registry import register


class CspPafpn(Neck):
    """From coarse to fine, back to coarse, and a convolution to a common width."""

    def build(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: int,
        blocks: int,
        kind: CspKind,
        depthwise: bool,
        out_kernel: int,
        norm: NormKind,
    ) -> None:
        """All parts, for the constructors."""
        self.in_channels = in_channels
        self.out_channels = (out_channels,) * len(in_channels)

        def layer(before: int, after: int) -> CspLayer:
            return CspLayer(
                before, after, blocks=blocks, shortcut=False, kind=kind, depthwise=depthwise, norm=norm
            )

        pairs = list(pairwise(in_channels))  # (finer, coarser)
        self.reduce_layers = nn.ModuleList(yolo_conv(b, a, 1, norm=norm) for a, b in reversed(pairs))
        self.top_down_blocks = nn.ModuleList(layer(2 * a, a) for a, _ in reversed(pairs))
        self.downsamples = nn.ModuleList(
            yolo_conv(a, a, 3, stride=2, depthwise=depthwise, norm=norm) for a, _ in pairs
        )
        self.bottom_up_blocks = nn.ModuleList(layer(2 * a, b) for a, b in pairs)
        self.out_convs = nn.ModuleList(yolo_conv(c, out_channels, out_kernel, norm=norm) for c in in_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the maps."""
        return strides

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> (N, out_channels, H_i, W_i)."""
        inner = [maps[-1]]
        for finer, reduce, block in zip(maps[-2::-1], self.reduce_layers, self.top_down_blocks):
            inner[0] = reduce(inner[0])
            enlarged = F.interpolate(inner[0], size=finer.shape[-2:], mode="nearest")
            inner.insert(0, block(torch.cat([enlarged, finer], dim=1)))
        levels = [inner[0]]
        for coarser, down, block in zip(inner[1:], self.downsamples, self.bottom_up_blocks):
            levels.append(block(torch.cat([down(levels[-1]), coarser], dim=1)))
        return tuple(conv(level) for conv, level in zip(self.out_convs, levels))


@register
class YOLOXPAFPN(CspPafpn):
    """YOLOX's: darknet bottlenecks, 1x1 convolutions at the end.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        out_channels: channels of every level.
        blocks: bottlenecks in each layer.
        depthwise: separable convolutions in place of the 3x3 ones (YOLOX-nano).
        norm: kind of the norm layers.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: int,
        blocks: int = 3,
        depthwise: bool = False,
        norm: NormKind = YOLO_NORM,
    ) -> None:
        super().__init__()
        self.build(
            in_channels=in_channels,
            out_channels=out_channels,
            blocks=blocks,
            kind="darknet",
            depthwise=depthwise,
            out_kernel=1,
            norm=norm,
        )


@register
class CSPNeXtPAFPN(CspPafpn):
    """RTMDet's: bottlenecks with separable 5x5 convolutions, 3x3 convolutions at the end.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        out_channels: channels of every level.
        blocks: bottlenecks in each layer.
        norm: kind of the norm layers.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: int,
        blocks: int = 3,
        norm: NormKind = "bn",
    ) -> None:
        super().__init__()
        self.build(
            in_channels=in_channels,
            out_channels=out_channels,
            blocks=blocks,
            kind="cspnext",
            depthwise=False,
            out_kernel=3,
            norm=norm,
        )
