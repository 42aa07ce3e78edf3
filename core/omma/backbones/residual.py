"""What ResNet and its kin are made of: residual blocks, stages of them, and the walk through the stages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from omma.backbones.base import Backbone, check_stages, run
from omma.backbones.extras import Deform, Plugin
from omma.layers import ContextBlock, ConvAWS2d, ConvNormAct, DeformConv2d, NormKind, make_norm, norm_name

Style = Literal["pytorch", "caffe"]
"""Which convolution of a bottleneck has the stride: the 3x3 (pytorch) or the first 1x1 (caffe)."""


@dataclass(frozen=True, kw_only=True)
class BlockForm:
    """What the blocks of a stage have in common."""

    style: Style = "pytorch"
    norm: NormKind = "bn"
    dilation: int = 1
    groups: int = 1
    """Of the 3x3 convolution of a bottleneck."""
    width_per_group: int | None = None
    """Channels of each group in a stage of width 64; null: the groups share the stage's width."""
    avg_down: bool = False
    """Whether shortcuts average before their convolution instead of striding in it (ResNet-D)."""
    deform: Deform | None = None
    plugins: tuple[Plugin, ...] = ()
    bricks: bool = False
    """Whether blocks are made of bricks, and shortcuts are one."""

    def inner_width(self, width: int) -> int:
        """Channels of the 3x3 convolution of a bottleneck in a stage of ``width``."""
        return width if self.width_per_group is None else width * self.width_per_group // 64 * self.groups


class ResidualBlock(nn.Module):
    """Layers beside a shortcut: (N, in_channels, H, W) to (N, expansion * width, H / stride, W / stride).

    Args:
        in_channels: channels of its input.
        width: of the stage.
        stride: of the block.
        form: what the stage's blocks have in common.
        downsample: the shortcut, where it isn't the identity.
    """

    expansion: ClassVar[int]

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def join(self, x: Tensor, out: Tensor) -> Tensor:
        """The block's output, from its input ``x`` and what its layers made of it."""
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions beside a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, downsample=downsample)
        d = form.dilation
        self.norms = tuple(f"{norm_name(form.norm)}{i}" for i in (1, 2))
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=d, dilation=d, bias=False)
        self.add_module(self.norms[0], make_norm(form.norm, width))
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.add_module(self.norms[1], make_norm(form.norm, width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        norm1, norm2 = (getattr(self, name) for name in self.norms)
        out = self.relu(norm1(self.conv1(x)))
        out = norm2(self.conv2(out))
        return self.join(x, out)


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the last has ``expansion`` times the width."""

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, downsample=downsample)
        first, second = (stride, 1) if form.style == "caffe" else (1, stride)
        inner, out_channels = form.inner_width(width), width * self.expansion
        self.norms = tuple(f"{norm_name(form.norm)}{i}" for i in (1, 2, 3))
        self.conv1 = nn.Conv2d(in_channels, inner, 1, first, bias=False)
        self.add_module(self.norms[0], make_norm(form.norm, inner))
        self.conv2 = self.make_conv2(inner, second, form)
        self.add_module(self.norms[1], make_norm(form.norm, inner))
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.add_module(self.norms[2], make_norm(form.norm, out_channels))
        self.plugins = tuple(plugin.name for plugin in form.plugins)
        for plugin in form.plugins:
            self.add_module(plugin.name, plugin.make(out_channels))

    def make_conv2(self, channels: int, stride: int, form: BlockForm) -> nn.Module:
        """The 3x3 convolution."""
        d, groups = form.dilation, form.groups
        if form.deform:
            return form.deform.make(channels, stride, d, groups=groups)
        return nn.Conv2d(channels, channels, 3, stride, padding=d, dilation=d, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, expansion * width, H / stride, W / stride)."""
        return self.join(x, self.layers(x))

    def layers(self, x: Tensor) -> Tensor:
        """What is added to the shortcut."""
        norm1, norm2, norm3 = (getattr(self, name) for name in self.norms)
        out = self.relu(norm1(self.conv1(x)))
        out = self.relu(norm2(self.conv2(out)))
        out = norm3(self.conv3(out))
        for name in self.plugins:
            out = getattr(self, name)(out)
        return out


class BrickBasicBlock(ResidualBlock):
    """A basic block whose layers are called ``conv1.conv``, ``conv1.bn`` ..., as in checkpoints of videos."""

    expansion: ClassVar[int] = 1

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, downsample=downsample)
        d, norm = form.dilation, form.norm
        self.norms = tuple(f"conv{i}.{norm_name(norm)}" for i in (1, 2))
        self.conv1 = ConvNormAct(in_channels, width, 3, stride=stride, padding=d, dilation=d, norm=norm)
        self.conv2 = ConvNormAct(width, width, 3, padding=1, norm=norm, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        return self.join(x, self.conv2(self.conv1(x)))


class BrickBottleneck(ResidualBlock):
    """A bottleneck whose layers are called ``conv1.conv``, ``conv1.bn`` ..., as in checkpoints of videos."""

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, downsample=downsample)
        first, second = (stride, 1) if form.style == "caffe" else (1, stride)
        inner, out_channels = form.inner_width(width), width * self.expansion
        self.inner_width = inner
        d, norm = form.dilation, form.norm
        self.norms = tuple(f"conv{i}.{norm_name(norm)}" for i in (1, 2, 3))
        self.conv1 = ConvNormAct(in_channels, inner, 1, stride=first, norm=norm)
        self.conv2 = ConvNormAct(
            inner, inner, 3, stride=second, padding=d, dilation=d, groups=form.groups, norm=norm
        )
        self.conv3 = ConvNormAct(inner, out_channels, 1, norm=norm, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, expansion * width, H / stride, W / stride)."""
        return self.join(x, self.conv3(self.conv2(self.conv1(x))))


def make_stage(
    block: type[ResidualBlock],
    in_channels: int,
    width: int,
    *,
    stride: int,
    form: BlockForm,
    dilations: Sequence[int],
) -> nn.Sequential:
    """A stage of blocks, one for each of ``dilations``, of which the first has the stride."""
    channels = width * block.expansion
    blocks: list[nn.Module] = []
    for i, dilation in enumerate(dilations):
        shortcut = _shortcut(in_channels, channels, stride, form) if i == 0 else None
        each = replace(form, dilation=dilation)
        blocks.append(
            block(in_channels, width, stride=stride if i == 0 else 1, form=each, downsample=shortcut)
        )
        in_channels = channels
    return nn.Sequential(*blocks)


def _shortcut(in_channels: int, out_channels: int, stride: int, form: BlockForm) -> nn.Module | None:
    if stride == 1 and in_channels == out_channels:
        return None
    if form.bricks:
        return ConvNormAct(in_channels, out_channels, 1, stride=stride, norm=form.norm, act=None)
    norm = make_norm(form.norm, out_channels)
    if not form.avg_down:
        return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), norm)
    mean = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(mean, nn.Conv2d(in_channels, out_channels, 1, bias=False), norm)


class ResidualNet(Backbone):
    """A stem and stages called ``layer1``, ``layer2`` ..., whose maps are returned on wish.

    A subclass's constructor calls ``add_stem``, ``add_stage`` for each stage, and ``finish``.
    """

    stem_parts: tuple[str, ...]
    """Names of the modules before the stages, in order."""
    out_indices: tuple[int, ...]
    recompute: bool

    def add_stem(self, channels: int, norm: NormKind, *, deep: bool, bricks: bool = False) -> None:
        """A 7x7 convolution, or three 3x3 ones (``deep``), then a pooling: stride 4.

        With ``bricks`` the layers are called ``conv1.conv`` and ``conv1.bn`` in place of ``conv1`` and
        ``bn1``; those of a deep one ``stem.0.conv``, ``stem.0.bn`` ... in place of ``stem.0``, ``stem.1`` ...
        """
        if deep:
            half = channels // 2
            layers: list[nn.Module] = []
            for a, b, stride in ((3, half, 2), (half, half, 1), (half, channels, 1)):
                if bricks:
                    layers.append(ConvNormAct(a, b, 3, stride=stride, padding=1, norm=norm))
                    continue
                layers += [
                    nn.Conv2d(a, b, 3, stride, padding=1, bias=False),
                    make_norm(norm, b),
                    nn.ReLU(True),
                ]
            self.stem = nn.Sequential(*layers)
            self.stem_parts = ("stem", "maxpool")
        elif bricks:
            self.conv1 = ConvNormAct(3, channels, 7, stride=2, padding=3, norm=norm)
            self.stem_parts = ("conv1", "maxpool")
        else:
            self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
            name = f"{norm_name(norm)}1"
            self.add_module(name, make_norm(norm, channels))
            self.relu = nn.ReLU(inplace=True)
            self.stem_parts = ("conv1", name, "relu", "maxpool")
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def declare(
        self, out_indices: tuple[int, ...], widths: Sequence[int], strides: Sequence[int], frozen_stages: int
    ) -> None:
        """State what the maps of ``out_indices`` are, from the channels and strides of all stages.

        Raises:
            ValueError: there are no such stages.
        """
        check_stages(out_indices, range(len(widths)), frozen_stages, len(widths))
        self.out_indices = out_indices
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.strides = tuple(math.prod(strides[: i + 2]) for i in out_indices)

    def finish(
        self,
        *,
        zero_init_residual: bool,
        frozen_stages: int,
        norm_frozen: bool,
        weights: str | None,
        partial_norm: bool = False,
    ) -> None:
        """Initial weights, and what doesn't train: with ``partial_norm`` no batch norm but the first."""
        self.initialise(zero_init_residual=zero_init_residual)
        frozen: list[str] = []
        if frozen_stages >= 0:
            last = min(frozen_stages, max(self.out_indices) + 1)
            frozen = [*self.stem_parts, *(f"layer{i}" for i in range(1, last + 1))]
        if partial_norm:
            norms = [name for name, module in self.named_modules() if isinstance(module, _BatchNorm)]
            frozen += norms[1:]
        self.start(weights, frozen=frozen, norm_frozen=norm_frozen)

    def initialise(self, *, zero_init_residual: bool) -> None:
        """Random weights."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, DeformConv2d | ContextBlock):
                module.reset_parameters()
            elif isinstance(module, ConvAWS2d):
                module.reset_extras()
            elif zero_init_residual and isinstance(module, _BLOCKS):
                nn.init.zeros_(module.get_parameter(f"{module.norms[-1]}.weight"))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        for name in self.stem_parts:
            x = getattr(self, name)(x)
        maps = []
        for i in range(max(self.out_indices) + 1):
            x = run(getattr(self, f"layer{i + 1}"), x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


_BLOCKS = (BasicBlock, Bottleneck, BrickBasicBlock, BrickBottleneck)
