"""ShuffleNet (Zhang et al., An Extremely Efficient Convolutional Neural Network for Mobile Devices, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones.base import Backbone, check_stages, run
from omma.layers import ConvNormAct, NormKind, init_conv, rounded, shuffle
from omma.registry import register


@register
class ShuffleNetV1(Backbone):
    """Three stages of grouped bottlenecks with shuffled channels at strides 8, 16, 32, behind a pooled stem.

    Parameter names are OpenMMLab's.

    Args:
        groups: of the 1x1 convolutions: 1, 2, 3, 4 or 8; more of them allow more channels.
        width: factor of the channels.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        out_indices: stages to return, 0 is the first.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        recompute: run each unit again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        groups: int = 3,
        width: float = 1.0,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        out_indices: tuple[int, ...] = (0, 1, 2),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if groups not in _CHANNELS:
            raise ValueError(f"groups must be one of {', '.join(map(str, _CHANNELS))}, got {groups}")
        check_stages(out_indices, range(3), frozen_stages, 3)
        widths = [rounded(_CHANNELS[groups] * 2**i * width) for i in range(3)]
        before = int(24 * width)
        if any(channels % (4 * groups) for channels in widths) or (widths[0] - before) % groups:
            raise ValueError(f"width {width} gives channels {widths}, which {groups} groups don't divide")
        self.norm_eval, self.recompute = norm_eval, recompute
        self.out_indices = out_indices
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.strides = tuple(8 * 2**i for i in out_indices)
        self.conv1 = ConvNormAct(3, before, 3, stride=2, padding=1, norm=norm)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layers = nn.ModuleList()
        for i, count in enumerate((4, 8, 4)[: max(out_indices) + 1]):
            # The few channels of the stem are not grouped.
            units = [GroupedUnit(before, widths[i], groups, 1 if i == 0 else groups, norm, strided=True)]
            units += [
                GroupedUnit(widths[i], widths[i], groups, groups, norm, strided=False)
                for _ in range(count - 1)
            ]
            self.layers.append(nn.Sequential(*units))
            before = widths[i]
        init_conv(self, kind="kaiming")
        frozen = [f"layers.{i}" for i in range(min(frozen_stages, len(self.layers)))]
        self.start(weights, frozen=["conv1", *frozen] if frozen_stages >= 0 else [])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        x = self.maxpool(self.conv1(x))
        maps = []
        for i, layer in enumerate(self.layers):
            x = run(layer.children(), x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


class GroupedUnit(nn.Module):
    """Grouped 1x1, depthwise and grouped 1x1 convolutions, added to their input, or beside its averages.

    Args:
        in_channels: C.
        out_channels: C'.
        groups: of the second 1x1 convolution.
        first_groups: of the first one.
        norm: kind of the norms.
        strided: halve the map, and join the averages of the input instead of adding it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        groups: int,
        first_groups: int,
        norm: NormKind,
        *,
        strided: bool,
    ) -> None:
        super().__init__()
        inner, made = out_channels // 4, out_channels - in_channels if strided else out_channels
        self.groups = groups
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if strided else None
        self.g_conv_1x1_compress = ConvNormAct(in_channels, inner, 1, groups=first_groups, norm=norm)
        self.depthwise_conv3x3_bn = ConvNormAct(
            inner, inner, 3, stride=2 if strided else 1, padding=1, groups=inner, norm=norm, act=None
        )
        self.g_conv_1x1_expand = ConvNormAct(inner, made, 1, groups=groups, norm=norm, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W), or half of it with a stride."""
        out = shuffle(self.depthwise_conv3x3_bn(self.g_conv_1x1_compress(x)), self.groups)
        out = self.g_conv_1x1_expand(out)
        return (x + out).relu() if self.pool is None else torch.cat([self.pool(x), out.relu()], dim=1)


_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Of the first stage by groups; they double with each stage."""
