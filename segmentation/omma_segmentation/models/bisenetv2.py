"""BiSeNetV2 (Yu et al., BiSeNet V2: Bilateral Network with Guided Aggregation, 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormKind, SeparableConv, init_conv, make_norm, resize
from omma.registry import register


@register
class BiSeNetV2(Backbone):
    """A wide shallow branch for detail and a narrow deep one for semantics, which guide each other.

    It returns what both make together at stride 8, and the semantic branch's maps at strides 4, 8, 16 and 32.

    Args:
        detail_channels: of the three stages of the detail branch.
        semantic_channels: of the four stages of the semantic branch.
        expansion: widening within the blocks of the semantic branch.
        norm: kind of the norms.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: the last stages of both branches have not as many channels.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        detail_channels: tuple[int, int, int] = (64, 64, 128),
        semantic_channels: tuple[int, int, int, int] = (16, 32, 64, 128),
        expansion: int = 6,
        norm: NormKind = "bn",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if detail_channels[-1] != semantic_channels[-1]:
            raise ValueError(
                f"both branches must end in as many channels, got {detail_channels} and {semantic_channels}"
            )
        self.out_channels, self.strides = (detail_channels[-1], *semantic_channels), (8, 4, 8, 16, 32)
        self.detail = DetailBranch(detail_channels, norm=norm)
        self.semantic = SemanticBranch(semantic_channels, expansion=expansion, norm=norm)
        self.bga = GuidedAggregation(detail_channels[-1], norm=norm)
        init_conv(self, kind="kaiming")
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> the aggregated map and those of the semantic branch."""
        *maps, context = self.semantic(x)
        return self.bga(self.detail(x), context), *maps


class DetailBranch(nn.Module):
    """Three stages of two or three convolutions, each of which halves.

    Args:
        channels: of each stage.
        norm: kind of the norms.
    """

    def __init__(self, channels: tuple[int, int, int], *, norm: NormKind) -> None:
        super().__init__()
        stages = []
        for before, width, count in zip((3, *channels), channels, (1, 2, 2), strict=False):
            halving = ConvNormAct(before, width, 3, stride=2, padding=1, norm=norm)
            more = (ConvNormAct(width, width, 3, padding=1, norm=norm) for _ in range(count))
            stages.append(nn.Sequential(halving, *more))
        self.detail_branch = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, channels[-1], H / 8, W / 8)."""
        return self.detail_branch(x)


class SemanticBranch(nn.Module):
    """A stem, three stages of gather-and-expansion blocks, and an embedding of the whole image.

    Args:
        channels: of the four stages.
        expansion: widening within the blocks.
        norm: kind of the norms.
    """

    def __init__(self, channels: tuple[int, int, int, int], *, expansion: int, norm: NormKind) -> None:
        super().__init__()
        self.stage1 = Stem(channels[0], norm=norm)
        for i, (before, width, more) in enumerate(zip(channels, channels[1:], (1, 1, 3), strict=False), 2):
            blocks = [GatherExpand(before, width, stride=2, expansion=expansion, norm=norm)]
            blocks += [
                GatherExpand(width, width, stride=1, expansion=expansion, norm=norm) for _ in range(more)
            ]
            self.add_module(f"stage{i}", nn.Sequential(*blocks))
        self.stage4_CEBlock = ContextEmbedding(channels[-1], norm=norm)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> the map of each stage, at strides 4, 8, 16 and 32, and the last with context."""
        maps = []
        for stage in self.children():
            x = stage(x)
            maps.append(x)
        return maps


class Stem(nn.Module):
    """A convolution that halves, then another pair of convolutions beside a maximum, joined.

    Args:
        channels: C.
        norm: kind of the norms.
    """

    def __init__(self, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.conv_first = ConvNormAct(3, channels, 3, stride=2, padding=1, norm=norm)
        self.convs = nn.Sequential(
            ConvNormAct(channels, channels // 2, 1, norm=norm),
            ConvNormAct(channels // 2, channels, 3, stride=2, padding=1, norm=norm),
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse_last = ConvNormAct(2 * channels, channels, 3, padding=1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, H / 4, W / 4)."""
        x = self.conv_first(x)
        return self.fuse_last(torch.cat([self.convs(x), self.pool(x)], dim=1))


class GatherExpand(nn.Module):
    """A convolution, a widening depthwise one and a projection, beside a shortcut.

    Args:
        in_channels: C.
        out_channels: C'; of a block that doesn't stride it is C.
        stride: 1, or 2 with a second depthwise convolution and one in the shortcut.
        expansion: widening.
        norm: kind of the norms.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, expansion: int, norm: NormKind
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.conv1 = ConvNormAct(in_channels, in_channels, 3, padding=1, norm=norm)
        layers = [
            ConvNormAct(
                in_channels,
                wide,
                3,
                stride=stride,
                padding=1,
                groups=in_channels,
                norm=norm,
                act="relu" if stride == 1 else None,
            )
        ]
        self.shortcut: nn.Module | None = None
        if stride == 2:
            layers.append(ConvNormAct(wide, wide, 3, padding=1, groups=wide, norm=norm))
            skip = SeparableConv(in_channels, out_channels, 3, stride=2, padding=1, norm=norm, act=None)
            self.shortcut = nn.Sequential(skip)
        self.dwconv = nn.Sequential(*layers)
        self.conv2 = nn.Sequential(ConvNormAct(wide, out_channels, 1, norm=norm, act=None))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        out = self.conv2(self.dwconv(self.conv1(x)))
        return (out + (x if self.shortcut is None else self.shortcut(x))).relu()


class ContextEmbedding(nn.Module):
    """Adds to every pixel what the image is on average.

    Args:
        channels: C.
        norm: kind of the norms.
    """

    def __init__(self, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.gap = nn.Sequential(nn.AdaptiveAvgPool2d(1), make_norm(norm, channels))
        self.conv_gap = ConvNormAct(channels, channels, 1, norm=norm)
        self.conv_last = ConvNormAct(channels, channels, 3, padding=1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return self.conv_last(x + self.conv_gap(self.gap(x)))


class GuidedAggregation(nn.Module):
    """Each branch gates the other at its own resolution; the sum is convolved.

    Args:
        channels: C of both branches.
        norm: kind of the norms.
    """

    def __init__(self, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.detail_dwconv = nn.Sequential(Gate(channels, norm=norm))
        self.detail_down = nn.Sequential(
            ConvNormAct(channels, channels, 3, stride=2, padding=1, norm=norm, act=None),
            nn.AvgPool2d(3, stride=2, padding=1),
        )
        self.semantic_conv = nn.Sequential(ConvNormAct(channels, channels, 3, padding=1, norm=norm, act=None))
        self.semantic_dwconv = nn.Sequential(Gate(channels, norm=norm))
        self.conv = ConvNormAct(channels, channels, 3, padding=1, norm=norm)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Maps (N, C, H, W) and (N, C, H / 4, W / 4) -> (N, C, H, W)."""
        fine = self.detail_dwconv(detail) * resize(self.semantic_conv(context), detail).sigmoid()
        coarse = self.detail_down(detail) * self.semantic_dwconv(context).sigmoid()
        return self.conv(fine + resize(coarse, detail))


class Gate(nn.Module):
    """A depthwise convolution with a norm and a 1x1 one without.

    Args:
        channels: C.
        norm: kind of the norm.
    """

    def __init__(self, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.depthwise_conv = ConvNormAct(
            channels, channels, 3, padding=1, groups=channels, norm=norm, act=None
        )
        self.pointwise_conv = ConvNormAct(channels, channels, 1, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return self.pointwise_conv(self.depthwise_conv(x))
