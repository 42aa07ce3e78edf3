"""MobileNetV2 (Sandler et al., Inverted Residuals and Linear Bottlenecks, 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from omma.backbones.base import Backbone, check_stages, run
from omma.layers import Activation, ConvNormAct, NormKind, rounded
from omma.registry import register

_LAYERS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Widening, channels, blocks and stride of each group of inverted residuals."""


@register
class MobileNetV2(Backbone):
    """Seven groups of inverted residuals at strides 2, 4, 8, 16, 16, 32, 32, then a 1x1 convolution.

    Args:
        width: factor of the channels.
        out_indices: maps to return: 0 to 6 are the groups, 7 the convolution at the end.
        strides: of the first block of each group; null: as published.
        dilations: of each group's depthwise convolutions.
        norm: kind of the norm layers.
        act: activations.
        norm_eval: keep batch norm on its stored statistics during training too.
        numbered: call the layers of a block ``conv.0``, ``conv.1`` ..., as checkpoints of segmentation and
            pose do, in place of ``expand_conv``, ``depthwise_conv`` and ``linear_conv`` (detection).
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and groups 1..k.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        out_indices: tuple[int, ...] = (1, 2, 4, 7),
        strides: tuple[int, int, int, int, int, int, int] | None = None,
        dilations: tuple[int, int, int, int, int, int, int] = (1, 1, 1, 1, 1, 1, 1),
        norm: NormKind = "bn",
        act: Activation = "relu6",
        norm_eval: bool = False,
        numbered: bool = False,
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_stages(out_indices, range(8), frozen_stages, 7)
        self.norm_eval = norm_eval
        self.out_indices = out_indices
        self.recompute = recompute
        steps = strides or tuple(stride for *_, stride in _LAYERS)
        channels = rounded(32 * width)
        self.conv1 = ConvNormAct(3, channels, 3, stride=2, padding=1, norm=norm, act=act)
        widths, reached = [], [2]
        for i, (expand, out, count, _) in enumerate(_LAYERS[: max(out_indices) + 1]):
            out = rounded(out * width)
            blocks = []
            for j in range(count):
                stride = steps[i] if j == 0 else 1
                block = InvertedResidual(
                    channels, out, stride, dilations[i], expand, norm, act, numbered=numbered
                )
                blocks.append(block)
                channels = out
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            widths.append(channels)
            reached.append(reached[-1] * steps[i])
        if max(out_indices) == 7:
            widths.append(rounded(1280 * max(width, 1.0)))
            self.conv2 = ConvNormAct(channels, widths[-1], 1, norm=norm, act=act)
            reached.append(reached[-1])
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.strides = tuple(reached[i + 1] for i in out_indices)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        last = min(frozen_stages, len(_LAYERS), max(out_indices) + 1)
        frozen = ["conv1", *(f"layer{i}" for i in range(1, last + 1))]
        self.start(weights, frozen=frozen if frozen_stages >= 0 else [])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        x = self.conv1(x)
        maps = []
        for i in range(max(self.out_indices) + 1):
            blocks = [self.conv2] if i == 7 else self.get_submodule(f"layer{i + 1}").children()
            x = run(blocks, x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


class InvertedResidual(nn.Module):
    """Widen, depthwise convolution, narrow; added to the input if the shapes agree."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        dilation: int,
        expand: int,
        norm: NormKind,
        act: Activation,
        *,
        numbered: bool,
    ) -> None:
        super().__init__()
        inner = in_channels * expand
        self.residual = stride == 1 and in_channels == out_channels
        layers: dict[str, nn.Module] = {}
        if expand > 1:
            layers["expand_conv"] = ConvNormAct(in_channels, inner, 1, norm=norm, act=act)
        layers["depthwise_conv"] = ConvNormAct(
            inner,
            inner,
            3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=inner,
            norm=norm,
            act=act,
        )
        layers["linear_conv"] = ConvNormAct(inner, out_channels, 1, norm=norm, act=None)
        if numbered:
            layers = {"conv": nn.Sequential(*layers.values())}
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.order = tuple(layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        out = x
        for name in self.order:
            out = getattr(self, name)(out)
        return x + out if self.residual else out
