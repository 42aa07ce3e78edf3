"""MobileNetV3 (Howard et al., Searching for MobileNetV3, 2019)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from torch import Tensor

from omma.backbones.base import Backbone, check_stages, run
from omma.layers import (
    Activation,
    ConvNormAct,
    InvertedResidual,
    NormForm,
    NormKind,
    SameConv,
    SqueezeExcitation,
    init_conv,
    rounded,
)
from omma.registry import register

_NORM = NormForm(eps=1e-3, momentum=0.01)
"""As published."""


@register
class MobileNetV3(Backbone):
    """Inverted residuals, most of which weigh their channels, behind a strided convolution.

    Parameter names are OpenMMLab's; torchvision's are understood too. Strides 2, 4, 8, 16 and 32 end with the
    layers 1, 3, 6, 12 and 16 of the large network, 0, 1, 3, 8 and 12 of the small one.

    Args:
        size: of the published network.
        out_indices: layers to return: 0 is the convolution at the start, 16 (large) or 12 (small) that at the
            end, which only widens.
        output_stride: the greatest stride; below 32 later layers keep it by dilation.
        tail_reduction: divides the channels of the blocks at stride 32.
        same_padding: pad strided convolutions more at the end than at the front, as networks for
            segmentation do, whose weights were converted from TensorFlow.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; k freezes layers 0..k.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        size: Literal["small", "large"] = "large",
        out_indices: tuple[int, ...] = (1, 3, 6, 12),
        output_stride: Literal[8, 16, 32] = 32,
        tail_reduction: int = 1,
        same_padding: bool = False,
        norm: NormKind = _NORM,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if size not in _BLOCKS:
            raise ValueError(f"size must be one of {', '.join(_BLOCKS)}, got {size}")
        if tail_reduction < 1:
            raise ValueError(f"tail_reduction must be positive, got {tail_reduction}")
        blocks, tail = _BLOCKS[size], len(_BLOCKS[size]) - 3
        check_stages(out_indices, range(len(blocks) + 2), frozen_stages, len(blocks) + 1)
        self.norm_eval, self.recompute = norm_eval, recompute
        self.out_indices = out_indices
        if same_padding:
            self.layer0 = SameConv(3, 16, 3, stride=2, norm=norm, act="hard_swish")
        else:
            self.layer0 = ConvNormAct(3, 16, 3, stride=2, padding=1, norm=norm, act="hard_swish")
        widths, reached, dilation = [16], [2], 1
        for i, row in enumerate(blocks[: max(out_indices)]):
            reduction = tail_reduction if i >= tail else 1
            inner, width, stride = row.inner // reduction, row.width // reduction, row.stride
            if reached[-1] * stride > output_stride:
                dilation, stride = dilation * stride, 1
            block = InvertedResidual(
                widths[-1],
                inner,
                width,
                row.kernel,
                stride=stride,
                dilation=dilation,
                squeeze=_squeeze(inner) if row.squeeze else None,
                norm=norm,
                act=row.act,
                same_padding=same_padding,
                residual=row.stride == 1 and widths[-1] == width,
            )
            self.add_module(f"layer{i + 1}", block)
            widths.append(width)
            reached.append(reached[-1] * stride)
        if max(out_indices) > len(blocks):
            end = ConvNormAct(widths[-1], 6 * blocks[-1].width, 1, norm=norm, act="hard_swish")
            self.add_module(f"layer{len(blocks) + 1}", end)
            widths.append(6 * blocks[-1].width)
            reached.append(reached[-1])
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.strides = tuple(reached[i] for i in out_indices)
        init_conv(self, kind="kaiming")
        last = min(frozen_stages, max(out_indices))
        self.start(weights, frozen=[f"layer{i}" for i in range(last + 1)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        maps = []
        for i in range(max(self.out_indices) + 1):
            x = run([self.get_submodule(f"layer{i}")], x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def own_names(self, names: Iterable[str]) -> dict[str, str]:
        """What the parameters in torchvision's files are called here."""
        own = {}
        for name in names:
            if block := re.match(r"features\.(\d+)\.block\.(\d)\.(.*)", name):
                layer = getattr(self, f"layer{block[1]}", None)
                if isinstance(layer, InvertedResidual):
                    parts = [part for part, module in layer.named_children() if [*module.parameters()]]
                    own[name] = f"layer{block[1]}.{parts[int(block[2])]}.{_inner(block[3])}"
            elif plain := re.match(r"features\.(\d+)\.(\d\..*)", name):
                own[name] = f"layer{plain[1]}.{_inner(plain[2])}"
        return own


def _inner(name: str) -> str:
    """What torchvision calls ``0.weight`` and ``1.weight`` in a brick, ``fc1.weight`` in a squeeze."""
    name = re.sub(r"^fc(\d)\.", r"conv\1.conv.", name)
    return re.sub(r"^1\.", "bn.", re.sub(r"^0\.", "conv.", name))


def _squeeze(channels: int) -> SqueezeExcitation:
    return SqueezeExcitation(channels, rounded(channels // 4), gate="hard_sigmoid")


class _Block(NamedTuple):
    kernel: int
    inner: int
    width: int
    squeeze: bool
    act: Activation
    stride: int


_BLOCKS: dict[str, tuple[_Block, ...]] = {
    "small": (
        _Block(3, 16, 16, True, "relu", 2),
        _Block(3, 72, 24, False, "relu", 2),
        _Block(3, 88, 24, False, "relu", 1),
        _Block(5, 96, 40, True, "hard_swish", 2),
        _Block(5, 240, 40, True, "hard_swish", 1),
        _Block(5, 240, 40, True, "hard_swish", 1),
        _Block(5, 120, 48, True, "hard_swish", 1),
        _Block(5, 144, 48, True, "hard_swish", 1),
        _Block(5, 288, 96, True, "hard_swish", 2),
        _Block(5, 576, 96, True, "hard_swish", 1),
        _Block(5, 576, 96, True, "hard_swish", 1),
    ),
    "large": (
        _Block(3, 16, 16, False, "relu", 1),
        _Block(3, 64, 24, False, "relu", 2),
        _Block(3, 72, 24, False, "relu", 1),
        _Block(5, 72, 40, True, "relu", 2),
        _Block(5, 120, 40, True, "relu", 1),
        _Block(5, 120, 40, True, "relu", 1),
        _Block(3, 240, 80, False, "hard_swish", 2),
        _Block(3, 200, 80, False, "hard_swish", 1),
        _Block(3, 184, 80, False, "hard_swish", 1),
        _Block(3, 184, 80, False, "hard_swish", 1),
        _Block(3, 480, 112, True, "hard_swish", 1),
        _Block(3, 672, 112, True, "hard_swish", 1),
        _Block(5, 672, 160, True, "hard_swish", 2),
        _Block(5, 960, 160, True, "hard_swish", 1),
        _Block(5, 960, 160, True, "hard_swish", 1),
    ),
}
