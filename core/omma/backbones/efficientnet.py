"""EfficientNet (Tan and Le, EfficientNet: Rethinking Model Scaling, 2019)."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from omma.backbones.base import Backbone, check_stages, drop_rates, run
from omma.layers import InvertedResidual, NormForm, NormKind, SameConv, SqueezeExcitation, rounded
from omma.registry import register

_NORM = NormForm(eps=1e-3)
"""As published."""

Size = Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"]


@register
class EfficientNet(Backbone):
    """Inverted residuals with squeeze and excitation; parts 1 to 5 are at strides 2, 4, 8, 16, 32.

    Args:
        size: of the published network.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        out_indices: parts to return: 0 is the stem, 6 the 1x1 convolution at the end.
        frozen_stages: -1 trains all; k freezes parts 0..k.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        size: Size = "b0",
        norm: NormKind = _NORM,
        norm_eval: bool = False,
        drop_path: float = 0.0,
        out_indices: tuple[int, ...] = (3, 4, 5),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if size not in _SIZES:
            raise ValueError(f"size must be one of {', '.join(_SIZES)}, got {size}")
        check_stages(out_indices, range(7), frozen_stages, 6)
        wide, deep = _SIZES[size]
        self.norm_eval = norm_eval
        self.out_indices = out_indices
        self.recompute = recompute
        channels = rounded(32 * wide)
        widths = [channels]
        self.layers = nn.ModuleList([SameConv(3, channels, 3, stride=2, norm=norm, act="silu")])
        total = sum(math.ceil(count * deep) for part in _PARTS for _, _, count, _ in part)
        rates = iter(drop_rates(drop_path, total))
        for i, part in enumerate(_PARTS, start=1):
            if i > max(out_indices):
                break
            blocks = []
            for j, (kernel, width, count, expand) in enumerate(part):
                width = rounded(width * wide)
                for k in range(math.ceil(count * deep)):
                    stride = 2 if i > 1 and j == k == 0 else 1
                    blocks.append(_block(channels, width, kernel, stride, expand, next(rates), norm))
                    channels = width
            widths.append(channels)
            self.layers.append(nn.Sequential(*blocks))
        if max(out_indices) == 6:
            widths.append(rounded(1280 * wide))
            self.layers.append(SameConv(channels, widths[-1], 1, stride=1, norm=norm, act="silu"))
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.strides = tuple((2, 2, 4, 8, 16, 32, 32)[i] for i in out_indices)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.start(weights, frozen=[f"layers.{i}" for i in range(min(frozen_stages + 1, len(self.layers)))])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        maps = []
        for i, layer in enumerate(self.layers):
            blocks = layer.children() if isinstance(layer, nn.Sequential) else [layer]
            x = run(blocks, x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


def _block(
    before: int, width: int, kernel: int, stride: int, expand: int, drop_path: float, norm: NormKind
) -> InvertedResidual:
    return InvertedResidual(
        before,
        before * expand,
        width,
        kernel,
        stride=stride,
        squeeze=SqueezeExcitation(before * expand, before // 4, act="silu"),
        norm=norm,
        act="silu",
        same_padding=True,
        residual=stride == 1 and before == width,
        drop_path=drop_path,
    )


_PARTS = (
    ((3, 16, 1, 1),),
    ((3, 24, 2, 6),),
    ((5, 40, 2, 6),),
    ((3, 80, 3, 6), (5, 112, 3, 6)),
    ((5, 192, 4, 6), (3, 320, 1, 6)),
)
"""Kernel, channels, blocks and widening of the groups of blocks at each stride."""

_SIZES = {
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
    "b8": (2.2, 3.6),
}
"""Factors of the channels and of the blocks."""
