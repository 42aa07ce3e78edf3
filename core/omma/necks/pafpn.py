"""Path aggregation (Liu et al., Path Aggregation Network for Instance Segmentation, 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, init_conv
from omma.necks.fpn import FPN
from omma.registry import register


@register
class PAFPN(FPN):
    """A feature pyramid followed by a path from fine to coarse.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        out_channels: channels of every level.
        num_outs: number of levels; those beyond the backbone's are made by ``extra_convs``.
        start_level: first of the backbone's maps that is used.
        extra_convs: what stride-2 convolutions for extra levels start from, as in ``FPN``; null: extra levels
            are the last one subsampled.
        relu_before_extra_convs: between consecutive extra convolutions.
        norm: kind of norm after each convolution.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: int = 256,
        num_outs: int = 5,
        start_level: int = 0,
        extra_convs: Literal["on_input", "on_lateral", "on_output"] | None = None,
        relu_before_extra_convs: bool = False,
        norm: NormKind | None = None,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            num_outs=num_outs,
            start_level=start_level,
            extra_convs=extra_convs,
            relu_before_extra_convs=relu_before_extra_convs,
            norm=norm,
        )
        steps = range(len(self.lateral_convs) - 1)
        self.downsample_convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, stride=2, padding=1, norm=norm, act=None)
            for _ in steps
        )
        self.pafpn_convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, padding=1, norm=norm, act=None) for _ in steps
        )
        for added in (self.downsample_convs, self.pafpn_convs):
            init_conv(added, kind="xavier")

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> ``num_outs`` maps of ``out_channels``."""
        laterals = self.merge(maps)
        levels = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)]
        for i, conv in enumerate(self.downsample_convs):
            levels[i + 1] = levels[i + 1] + conv(levels[i])
        levels = [levels[0], *(conv(level) for conv, level in zip(self.pafpn_convs, levels[1:]))]
        return self.extend(levels, maps[-1], laterals[-1])
