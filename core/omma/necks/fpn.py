"""Feature pyramid (Lin et al., Feature Pyramid Networks for Object Detection, 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind, init_conv
from omma.necks.base import Neck
from omma.registry import register


@register
class FPN(Neck):
    """A top-down path with lateral connections, and coarser levels on top.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        out_channels: channels of every level.
        num_outs: number of levels; those beyond the backbone's are made by ``extra_convs``.
        start_level: first of the backbone's maps that is used.
        extra_convs: what stride-2 convolutions for extra levels start from: the backbone's last map
            (``on_input``), its lateral (``on_lateral``) or the last level (``on_output``); null: extra levels
            are the last one subsampled, as in the paper.
        relu_before_extra_convs: between consecutive extra convolutions (RetinaNet's text has it).
        norm: kind of norm after each convolution.
        norm_on_lateral: whether lateral convolutions have it too.
        upsample: how coarser levels are brought to the size of finer ones.
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
        norm_on_lateral: bool = True,
        upsample: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__()
        used = in_channels[start_level:]
        if not used or num_outs < len(used):
            raise ValueError(f"{len(used)} maps from level {start_level} on can't make {num_outs} levels")
        self.in_channels = in_channels
        self.out_channels = (out_channels,) * num_outs
        self.start_level = start_level
        self.extra_convs = extra_convs
        self.upsample = upsample
        self.relu_before_extra_convs = relu_before_extra_convs
        lateral_norm = norm if norm_on_lateral else None
        self.lateral_convs = nn.ModuleList(
            ConvNormAct(c, out_channels, 1, norm=lateral_norm, act=None) for c in used
        )
        self.fpn_convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, padding=1, norm=norm, act=None) for _ in used
        )
        if extra_convs:
            for i in range(num_outs - len(used)):
                channels = in_channels[-1] if i == 0 and extra_convs == "on_input" else out_channels
                conv = ConvNormAct(channels, out_channels, 3, stride=2, padding=1, norm=norm, act=None)
                self.fpn_convs.append(conv)
        init_conv(self, kind="xavier")

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the used maps, then each extra level's twice that of the one below."""
        used = strides[self.start_level :]
        return used + tuple(used[-1] * 2**i for i in range(1, len(self.out_channels) - len(used) + 1))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> ``num_outs`` maps of ``out_channels``."""
        laterals = self.merge(maps)
        levels = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)]
        return self.extend(levels, maps[-1], laterals[-1])

    def merge(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The top-down path: of each used map its lateral plus all coarser ones."""
        laterals = [conv(m) for conv, m in zip(self.lateral_convs, maps[self.start_level :])]
        for i in range(len(laterals) - 1, 0, -1):
            size = laterals[i - 1].shape[-2:]
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size=size, mode=self.upsample)
        return laterals

    def extend(self, levels: list[Tensor], last_map: Tensor, last_lateral: Tensor) -> tuple[Tensor, ...]:
        """``levels`` and the extra ones on top."""
        first_extra = len(levels)
        for i in range(first_extra, len(self.out_channels)):
            if self.extra_convs is None:
                levels.append(levels[-1][..., ::2, ::2])
                continue
            sources = {"on_input": last_map, "on_lateral": last_lateral, "on_output": levels[-1]}
            source = sources[self.extra_convs] if i == first_extra else levels[-1]
            if self.relu_before_extra_convs and i > first_extra:
                source = source.relu()
            levels.append(self.fpn_convs[i](source))
        return tuple(levels)
