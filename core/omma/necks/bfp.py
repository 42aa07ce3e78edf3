"""Balanced feature pyramid (Pang et al., Libra R-CNN, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NonLocal2d, NormKind, init_conv
from omma.necks.base import Neck
from omma.registry import register


@register
class BFP(Neck):
    """The mean of all levels, refined at the size of one of them, is added to each.

    Args:
        in_channels: channels of every level that comes in, all equal.
        refine_level: the level at whose size the mean is taken.
        refine: by a convolution, by attention of every position to every other, or not at all (null).
        norm: kind of norm after the convolution.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        refine_level: int = 2,
        refine: Literal["conv", "non_local"] | None = None,
        norm: NormKind | None = None,
    ) -> None:
        super().__init__()
        if len(set(in_channels)) != 1:
            raise ValueError(f"all levels must have the same channels, got {in_channels}")
        if not 0 <= refine_level < len(in_channels):
            raise ValueError(f"refine_level must be one of {len(in_channels)} levels, got {refine_level}")
        self.in_channels = self.out_channels = in_channels
        self.refine_level = refine_level
        channels = in_channels[0]
        self.refine: nn.Module | None = None
        if refine == "conv":
            self.refine = ConvNormAct(channels, channels, 3, padding=1, norm=norm)
            init_conv(self.refine, kind="xavier")
        elif refine == "non_local":
            self.refine = NonLocal2d(channels, reduction=1, scaled=False)

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the levels."""
        return strides

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels (N, C, H_i, W_i) -> the same shapes."""
        size = maps[self.refine_level].shape[-2:]
        gathered = [
            F.adaptive_max_pool2d(m, size)
            if i < self.refine_level
            else F.interpolate(m, size=size, mode="nearest")
            for i, m in enumerate(maps)
        ]
        mean = torch.stack(gathered).mean(dim=0)
        if self.refine is not None:
            mean = self.refine(mean)
        return tuple(
            m
            + (
                F.interpolate(mean, size=m.shape[-2:], mode="nearest")
                if i < self.refine_level
                else F.adaptive_max_pool2d(mean, m.shape[-2:])
            )
            for i, m in enumerate(maps)
        )
