"""YOLOv3's path from coarse to fine (Redmon and Farhadi, YOLOv3, 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind
from omma.necks.base import Neck
from omma.registry import register


@register
class YOLOV3Neck(Neck):
    """From coarse to fine: five convolutions on each map, joined with what came from the coarser one.

    Parts are numbered from coarse to fine (``detect1`` is the coarsest), maps run from fine to coarse.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        out_channels: channels of the levels, fine to coarse.
        norm: kind of the norm layers.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...] = (256, 512, 1024),
        out_channels: tuple[int, ...] = (128, 256, 512),
        norm: NormKind = "bn",
    ) -> None:
        super().__init__()
        if len(in_channels) != len(out_channels):
            raise ValueError(f"need as many in_channels as out_channels, got {in_channels}, {out_channels}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        inside, outside = in_channels[::-1], out_channels[::-1]
        self.detect1 = DetectionBlock(inside[0], outside[0], norm)
        for i in range(1, len(inside)):
            narrow = ConvNormAct(outside[i - 1], outside[i], 1, norm=norm, act="leaky_relu")
            self.add_module(f"conv{i}", narrow)
            self.add_module(f"detect{i + 1}", DetectionBlock(inside[i] + outside[i], outside[i], norm))

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the maps."""
        return strides

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> (N, out_channels[i], H_i, W_i)."""
        levels = [self.detect1(maps[-1])]
        for i, finer in enumerate(maps[-2::-1], start=1):
            coarse = self.get_submodule(f"conv{i}")(levels[0])
            coarse = F.interpolate(coarse, size=finer.shape[-2:], mode="nearest")
            levels.insert(0, self.get_submodule(f"detect{i + 1}")(torch.cat([coarse, finer], dim=1)))
        return tuple(levels)


class DetectionBlock(nn.Module):
    """1x1 and 3x3 convolutions by turns, five in all."""

    def __init__(self, in_channels: int, channels: int, norm: NormKind) -> None:
        super().__init__()
        widths = (in_channels, channels, 2 * channels, channels, 2 * channels, channels)
        for i in range(5):
            kernel = 1 if i % 2 == 0 else 3
            conv = ConvNormAct(
                widths[i], widths[i + 1], kernel, padding=kernel // 2, norm=norm, act="leaky_relu"
            )
            self.add_module(f"conv{i + 1}", conv)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        for conv in self.children():
            x = conv(x)
        return x
