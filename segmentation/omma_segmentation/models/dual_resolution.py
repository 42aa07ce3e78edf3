"""What networks of branches at stride 8 and coarser ones are made of: DDRNet, and PIDNet after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, make_norm, resize

POOLS = ((5, 2), (9, 4), (17, 8))
"""Windows and strides of the averages in a pyramid, beside the map itself and its mean."""


class NormActConv(nn.Module):
    """Norm, ReLU, convolution: (N, C, H, W) to (N, C', H, W).

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: of the square kernel, pixels.
        groups: of the convolution.
        norm: kind of the norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        groups: int = 1,
        norm: NormKind,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=padding, groups=groups, bias=False
        )
        self.bn = make_norm(norm, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        return self.conv(self.bn(x).relu())


class Residual(nn.Module):
    """Layers beside a shortcut; what follows decides whether the sum is rectified here or by its user.

    Args:
        in_channels: C.
        width: of the 3x3 convolutions.
        stride: of the block.
        narrow: 1x1, 3x3 and a 1x1 convolution to twice the width, in place of two 3x3 ones.
        act: rectify the sum.
        numbered: call the shortcut's layers ``downsample.0`` and ``.1`` in place of ``conv`` and ``bn``.
        norm: kind of the norms.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int = 1,
        narrow: bool = False,
        act: bool = False,
        numbered: bool = False,
        norm: NormKind,
    ) -> None:
        super().__init__()
        out_channels = 2 * width if narrow else width
        if narrow:
            self.conv1 = ConvNormAct(in_channels, width, 1, norm=norm)
            self.conv2 = ConvNormAct(width, width, 3, stride=stride, padding=1, norm=norm)
            self.conv3 = ConvNormAct(width, out_channels, 1, norm=norm, act=None)
        else:
            self.conv1 = ConvNormAct(in_channels, width, 3, stride=stride, padding=1, norm=norm)
            self.conv2 = ConvNormAct(width, width, 3, padding=1, norm=norm, act=None)
        self.narrow, self.act = narrow, act
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            if numbered:
                conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
                self.downsample = nn.Sequential(conv, make_norm(norm, out_channels))
            else:
                self.downsample = ConvNormAct(
                    in_channels, out_channels, 1, stride=stride, norm=norm, act=None
                )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width or 2 width, H / stride, W / stride)."""
        out = self.conv2(self.conv1(x))
        out = self.conv3(out) if self.narrow else out
        out = out + (x if self.downsample is None else self.downsample(x))
        return out.relu() if self.act else out


def residuals(
    in_channels: int,
    width: int,
    count: int,
    *,
    stride: int = 1,
    narrow: bool = False,
    numbered: bool = False,
    norm: NormKind,
) -> nn.Sequential:
    """Blocks of which the first strides; the sum of the last is not rectified, nor that of a narrow one."""
    expansion = 2 if narrow else 1
    inputs = [in_channels, *[expansion * width] * (count - 1)]
    return nn.Sequential(
        *(
            Residual(
                channels,
                width,
                stride=stride if i == 0 else 1,
                narrow=narrow,
                act=not narrow and i < count - 1,
                numbered=numbered,
                norm=norm,
            )
            for i, channels in enumerate(inputs)
        )
    )


def stem(channels: int, blocks: int, *, numbered: bool = False, norm: NormKind) -> nn.Sequential:
    """(N, 3, H, W) -> (N, 2 channels, H / 8, W / 8)."""
    return nn.Sequential(
        ConvNormAct(3, channels, 3, stride=2, padding=1, norm=norm),
        ConvNormAct(channels, channels, 3, stride=2, padding=1, norm=norm),
        residuals(channels, channels, blocks, numbered=numbered, norm=norm),
        nn.ReLU(),
        residuals(channels, 2 * channels, blocks, stride=2, numbered=numbered, norm=norm),
        nn.ReLU(),
    )


class ContextPyramid(nn.Module):
    """A map, averages of it over larger and larger windows, and its mean, joined.

    Args:
        in_channels: C.
        channels: of each scale.
        out_channels: C'.
        norm: kind of the norms.
    """

    def __init__(self, in_channels: int, channels: int, out_channels: int, *, norm: NormKind) -> None:
        super().__init__()
        pools = [nn.AvgPool2d(size, stride, padding=size // 2) for size, stride in POOLS]
        self.scales = nn.ModuleList(
            [
                NormActConv(in_channels, channels, 1, norm=norm),
                *(
                    nn.Sequential(pool, NormActConv(in_channels, channels, 1, norm=norm))
                    for pool in (*pools, nn.AdaptiveAvgPool2d(1))
                ),
            ]
        )
        self.compression = NormActConv(channels * len(self.scales), out_channels, 1, norm=norm)
        self.shortcut = NormActConv(in_channels, out_channels, 1, norm=norm)

    def scaled(self, x: Tensor) -> list[Tensor]:
        """Each scale at the size of the first, (N, channels, H, W)."""
        first, *coarse = self.scales
        return [first(x), *(resize(scale(x), x) for scale in coarse)]

    def joined(self, x: Tensor, scales: Sequence[Tensor]) -> Tensor:
        """The map (N, C, H, W) and what was made of its scales -> (N, C', H, W)."""
        return self.compression(torch.cat(list(scales), dim=1)) + self.shortcut(x)


class SerialPyramid(ContextPyramid):
    """DAPPM: each scale is convolved together with the finer one before it (Hong et al., 2021)."""

    def __init__(self, in_channels: int, channels: int, out_channels: int, *, norm: NormKind) -> None:
        super().__init__(in_channels, channels, out_channels, norm=norm)
        self.processes = nn.ModuleList(
            NormActConv(channels, channels, 3, norm=norm) for _ in range(len(self.scales) - 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        first, *coarse = self.scaled(x)
        done = [first]
        for process, scale in zip(self.processes, coarse, strict=True):
            done.append(process(scale + done[-1]))
        return self.joined(x, done)


class ParallelPyramid(ContextPyramid):
    """PAPPM: the scales are convolved at once, each together with the map (Xu et al., 2023)."""

    def __init__(self, in_channels: int, channels: int, out_channels: int, *, norm: NormKind) -> None:
        super().__init__(in_channels, channels, out_channels, norm=norm)
        count = len(self.scales) - 1
        self.processes = NormActConv(count * channels, count * channels, 3, groups=count, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        first, *coarse = self.scaled(x)
        done = self.processes(torch.cat([scale + first for scale in coarse], dim=1))
        return self.joined(x, [first, done])
