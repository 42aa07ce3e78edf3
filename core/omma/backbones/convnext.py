"""ConvNeXt (Liu et al., A ConvNet for the 2020s, 2022)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from omma.backbones.base import Backbone, check_stages, drop_rates, run
from omma.layers import LayerNorm2d
from omma.registry import register

Size = Literal["atto", "femto", "pico", "nano", "tiny", "small", "base", "large", "xlarge"]


@register
class ConvNeXt(Backbone):
    """Four stages of depthwise 7x7 convolutions and feed-forward layers at strides 4, 8, 16, 32.

    Parameter names are OpenMMLab's (mmpretrain's); files of the authors are understood too.

    Args:
        size: of the published network.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        layer_scale: initial factor of each channel in a block.
        out_indices: stages to return, 0 is the first; each has a norm of its own.
        frozen_stages: -1 trains all; k freezes the stem and the first k stages.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        size: Size = "tiny",
        drop_path: float = 0.0,
        layer_scale: float = 1e-6,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if size not in _SIZES:
            raise ValueError(f"size must be one of {', '.join(_SIZES)}, got {size}")
        check_stages(out_indices, range(4), frozen_stages, 4)
        depths, widths = _SIZES[size]
        self.out_indices = out_indices
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.strides = tuple(4 * 2**i for i in out_indices)
        self.recompute = recompute
        rates = iter(drop_rates(drop_path, sum(depths)))
        self.downsample_layers, self.stages = nn.ModuleList(), nn.ModuleList()
        for i in range(max(out_indices) + 1):
            if i == 0:
                parts = (nn.Conv2d(3, widths[0], 4, stride=4), LayerNorm2d(widths[0], eps=1e-6))
            else:
                norm = LayerNorm2d(widths[i - 1], eps=1e-6)
                parts = (norm, nn.Conv2d(widths[i - 1], widths[i], 2, stride=2))
            self.downsample_layers.append(nn.Sequential(*parts))
            blocks = (ConvNeXtBlock(widths[i], next(rates), layer_scale) for _ in range(depths[i]))
            self.stages.append(nn.Sequential(*blocks))
        for i in out_indices:
            self.add_module(f"norm{i}", LayerNorm2d(widths[i], eps=1e-6))
        self.added_names = tuple(f"norm{i}" for i in out_indices)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        frozen = [f"{part}.{i}" for i in range(min(frozen_stages, len(self.stages))) for part in _PARTS]
        self.start(weights, frozen=[*frozen, *(["downsample_layers.0"] if frozen_stages == 0 else [])])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        maps = []
        for i, (downsample, blocks) in enumerate(zip(self.downsample_layers, self.stages)):
            x = run(blocks.children(), downsample(x), recompute=self.recompute)
            if i in self.out_indices:
                maps.append(getattr(self, f"norm{i}")(x).contiguous())
        return tuple(maps)

    def own_names(self, names: Iterable[str]) -> dict[str, str]:
        """What the parameters in the authors' files are called here."""
        own = {}
        for name in names:
            new = name.replace(".dwconv.", ".depthwise_conv.").replace(".pwconv", ".pointwise_conv")
            if new != name:
                own[name] = new
        return own


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution and a feed-forward layer of four times the width beside a shortcut."""

    def __init__(self, channels: int, drop_path: float, layer_scale: float) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pointwise_conv1 = nn.Linear(channels, 4 * channels)
        self.pointwise_conv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), layer_scale))
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        out = self.norm(self.depthwise_conv(x).permute(0, 2, 3, 1))
        out = self.pointwise_conv2(F.gelu(self.pointwise_conv1(out))) * self.gamma
        return x + self.drop_path(out.permute(0, 3, 1, 2))


_PARTS = ("downsample_layers", "stages")
_SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": ((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": ((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": ((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
    "xlarge": ((3, 3, 27, 3), (256, 512, 1024, 2048)),
}
"""Blocks and channels of each stage."""
