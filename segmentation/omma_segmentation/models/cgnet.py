"""CGNet (Wu et al., CGNet: A Light-weight Context Guided Network for Semantic Segmentation, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormForm, NormKind, init_conv, make_norm
from omma.registry import register

NORM = NormForm(kind="sync_bn", eps=1e-3)


@register
class CGNet(Backbone):
    """Two stages of blocks that see a pixel, its surroundings and the whole map together.

    It returns the stem's map and those of both stages, at strides 2, 4 and 8.

    Args:
        channels: of the stem and of the two stages.
        blocks: of each stage.
        dilations: with which each stage sees the surroundings.
        reductions: the whole map is judged in this part of each stage's channels.
        norm: kind of the norms.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, int, int] = (32, 64, 128),
        blocks: tuple[int, int] = (3, 21),
        dilations: tuple[int, int] = (2, 4),
        reductions: tuple[int, int] = (8, 16),
        norm: NormKind = NORM,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        # The first two maps are joined with the image itself.
        self.out_channels = (channels[0] + 3, 2 * channels[1] + 3, 2 * channels[2])
        self.strides = (2, 4, 8)
        stem = ((3, 2), (channels[0], 1), (channels[0], 1))
        self.stem = nn.ModuleList(
            ConvNormPReLU(c, channels[0], 3, stride=stride, padding=1, norm=norm) for c, stride in stem
        )
        settings = zip(self.out_channels, channels[1:], blocks, dilations, reductions, strict=False)
        self.level1, self.level2 = (
            nn.ModuleList(
                ContextGuidedBlock(c, width, halve=i == 0, dilation=dilation, reduction=reduction, norm=norm)
                for i, c in enumerate([entering, *[width] * (count - 1)])
            )
            for entering, width, count, dilation, reduction in settings
        )
        self.norm_prelu_0, self.norm_prelu_1, self.norm_prelu_2 = (
            nn.Sequential(make_norm(norm, width), nn.PReLU(width)) for width in self.out_channels
        )
        init_conv(self, kind="kaiming")
        for module in self.modules():
            if isinstance(module, nn.PReLU):
                nn.init.zeros_(module.weight)
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> maps at strides 2, 4 and 8."""
        half = F.avg_pool2d(x, 3, stride=2, padding=1)
        quarter = F.avg_pool2d(half, 3, stride=2, padding=1)
        for layer in self.stem:
            x = layer(x)
        stem = self.norm_prelu_0(torch.cat([x, half], dim=1))
        first, last = ends(self.level1, stem)
        middle = self.norm_prelu_1(torch.cat([last, first, quarter], dim=1))
        first, last = ends(self.level2, middle)
        return stem, middle, self.norm_prelu_2(torch.cat([first, last], dim=1))


def ends(blocks: nn.ModuleList, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the first and the last of the blocks in a row make of a map."""
    first, *rest = blocks
    x = start = first(x)
    for block in rest:
        x = block(x)
    return start, x


class ConvNormPReLU(ConvNormAct):
    """A convolution, a norm and an activation that learns its slope below zero for each channel.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: of the square kernel, pixels.
        stride, padding: as ``nn.Conv2d``.
        norm: kind of the norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        norm: NormKind,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, norm=norm, act=None
        )
        self.activate = nn.PReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return self.activate(super().forward(x))


class ContextGuidedBlock(nn.Module):
    """A pixel's neighbours near and far, joined and weighed by what the channels are on average.

    Args:
        in_channels: C.
        channels: C'.
        halve: stride over the map; otherwise C is C' and the block stands beside a shortcut.
        dilation: of the convolution that sees far.
        reduction: the weights are found in C' / reduction channels.
        norm: kind of the norms.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        halve: bool,
        dilation: int,
        reduction: int,
        norm: NormKind,
    ) -> None:
        super().__init__()
        width = channels if halve else channels // 2
        self.halve = halve
        size, stride = (3, 2) if halve else (1, 1)
        self.conv1x1 = ConvNormPReLU(in_channels, width, size, stride=stride, padding=size // 2, norm=norm)
        self.f_loc, self.f_sur = (
            nn.Conv2d(width, width, 3, padding=d, dilation=d, groups=width, bias=False) for d in (1, dilation)
        )
        self.bn = make_norm(norm, 2 * width)
        self.activate = nn.PReLU(2 * width)
        if halve:
            self.bottleneck = nn.Conv2d(2 * width, channels, 1, bias=False)
        self.f_glo = ChannelWeights(channels, channels // reduction)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W), or (N, C', H / 2, W / 2)."""
        out = self.conv1x1(x)
        out = self.activate(self.bn(torch.cat([self.f_loc(out), self.f_sur(out)], dim=1)))
        if self.halve:
            return self.f_glo(self.bottleneck(out))
        return x + self.f_glo(out)


class ChannelWeights(nn.Module):
    """Weighs the channels of (N, C, H, W) by a small network of their means.

    Args:
        channels: C.
        hidden: channels between the two layers.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x * self.fc(x.mean(dim=(2, 3)))[..., None, None]
