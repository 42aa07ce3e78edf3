"""Cross-stage partial layers, of YOLOX (Ge et al., 2021) and RTMDet (Lyu et al., 2022)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers.conv import ConvNormAct
from omma.layers.norm import NormForm, NormKind
from omma.layers.separable import SeparableConv

CspKind = Literal["darknet", "cspnext"]
"""``darknet``: 1x1 and 3x3 convolutions; ``cspnext``: 3x3 and separable 5x5 ones."""

YOLO_NORM = NormForm(eps=1e-3, momentum=0.03)
"""Batch norm as all of the YOLO family set it."""


class CspLayer(nn.Module):
    """Half of the channels go through bottlenecks, half pass by: (N, C, H, W) to (N, C', H, W).

    Args:
        in_channels: C.
        out_channels: C'.
        blocks: number of bottlenecks.
        expand: width of each half, as a share of C'.
        shortcut: whether a bottleneck is added to its input.
        kind: of the bottlenecks.
        depthwise: separable 3x3 convolutions in darknet bottlenecks.
        attention: weigh the channels before the last convolution.
        norm: kind of the norms.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        blocks: int = 1,
        expand: float = 0.5,
        shortcut: bool = True,
        kind: CspKind = "darknet",
        depthwise: bool = False,
        attention: bool = False,
        norm: NormKind = YOLO_NORM,
    ) -> None:
        super().__init__()
        half = int(out_channels * expand)
        self.main_conv = ConvNormAct(in_channels, half, 1, norm=norm, act="silu")
        self.short_conv = ConvNormAct(in_channels, half, 1, norm=norm, act="silu")
        self.final_conv = ConvNormAct(2 * half, out_channels, 1, norm=norm, act="silu")
        self.blocks = nn.Sequential(
            *(
                CspBottleneck(half, kind=kind, depthwise=depthwise, shortcut=shortcut, norm=norm)
                for _ in range(blocks)
            )
        )
        self.attention = ChannelAttention(2 * half) if attention else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        both = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        return self.final_conv(both if self.attention is None else self.attention(both))


class CspBottleneck(nn.Module):
    """Two convolutions, added to their input on wish; the shape stays."""

    def __init__(
        self, channels: int, *, kind: CspKind, depthwise: bool, shortcut: bool, norm: NormKind
    ) -> None:
        super().__init__()
        if kind == "cspnext":
            self.conv1 = yolo_conv(channels, channels, 3, depthwise=depthwise, norm=norm)
            self.conv2 = SeparableConv(channels, channels, 5, padding=2, norm=norm, act="silu")
        else:
            self.conv1 = ConvNormAct(channels, channels, 1, norm=norm, act="silu")
            self.conv2 = yolo_conv(channels, channels, 3, depthwise=depthwise, norm=norm)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        out = self.conv2(self.conv1(x))
        return x + out if self.shortcut else out


class ChannelAttention(nn.Module):
    """Weighs the channels of (N, C, H, W) by one 1x1 convolution of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x * F.hardsigmoid(self.fc(x.mean(dim=(2, 3), keepdim=True)))


class SpatialPyramidPooling(nn.Module):
    """Poolings of several sizes beside the map itself (He et al., Spatial Pyramid Pooling, 2014)."""

    def __init__(
        self, channels: int, *, kernels: tuple[int, ...] = (5, 9, 13), norm: NormKind = YOLO_NORM
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(channels, channels // 2, 1, norm=norm, act="silu")
        self.poolings = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in kernels)
        self.conv2 = ConvNormAct(channels // 2 * (len(kernels) + 1), channels, 1, norm=norm, act="silu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(pool(x) for pool in self.poolings)], dim=1))


def yolo_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    depthwise: bool = False,
    norm: NormKind = YOLO_NORM,
) -> ConvNormAct | SeparableConv:
    """A convolution with SiLU that keeps the size but for its stride; separable if ``depthwise``."""
    kind = SeparableConv if depthwise else ConvNormAct
    return kind(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        norm=norm,
        act="silu",
    )
