"""ViPNAS (Xu et al., Efficient Video Pose Estimation via Neural Architecture Search, 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from omma.backbones.base import Backbone, check_stages, run
from omma.backbones.residual import BlockForm, ResidualBlock, ResidualNet, make_stage
from omma.layers import (
    Activation,
    ContextBlock,
    ConvNormAct,
    InvertedResidual,
    NormKind,
    SqueezeExcitation,
    init_conv,
    make_norm,
    norm_name,
)
from omma.registry import register


@dataclass(frozen=True)
class Stage:
    """What was found for a stage."""

    width: int
    blocks: int
    kernel: int
    context: bool


FOUND = (Stage(80, 4, 3, True), Stage(160, 6, 5, False), Stage(304, 7, 5, True), Stage(608, 3, 5, True))
GROUPS = 16
"""Of the middle convolution of every block."""


@register
class ViPNASResNet(ResidualNet):
    """The network that the search found among kin of ResNet-50. Parameter names are OpenMMLab's.

    Args:
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        out_indices: stages to return, 0 is the first.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.declare(out_indices, [stage.width for stage in FOUND], (4, 1, 2, 2, 2), frozen_stages)
        self.norm_eval, self.recompute = norm_eval, recompute
        channels = 48
        self.add_stem(channels, norm, deep=False)
        for i, stage in enumerate(FOUND[: max(out_indices) + 1]):
            form = FoundForm(norm=norm, groups=GROUPS, kernel=stage.kernel, context=stage.context)
            dilations, stride = (1,) * stage.blocks, 1 if i == 0 else 2
            layer = make_stage(
                FoundBottleneck, channels, stage.width, stride=stride, form=form, dilations=dilations
            )
            self.add_module(f"layer{i + 1}", layer)
            channels = stage.width
        self.finish(zero_init_residual=False, frozen_stages=frozen_stages, norm_frozen=False, weights=weights)


@dataclass(frozen=True, kw_only=True)
class FoundForm(BlockForm):
    """What the blocks of a stage have in common."""

    kernel: int = 3
    context: bool = False
    """Whether the whole map is added to every position of what a block makes."""


class FoundBottleneck(ResidualBlock):
    """1x1, grouped and 1x1 convolutions of one width beside a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, downsample=downsample)
        assert isinstance(form, FoundForm)
        self.norms = tuple(f"{norm_name(form.norm)}{i}" for i in (1, 2, 3))
        padding = form.kernel // 2
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, form.kernel, stride, padding, groups=form.groups, bias=False)
        self.conv3 = nn.Conv2d(width, width, 1, bias=False)
        for name in self.norms:
            self.add_module(name, make_norm(form.norm, width))
        hidden = max(width // 16, 16)
        self.attention = ContextBlock(width, reduction=width // hidden) if form.context else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        norm1, norm2, norm3 = (getattr(self, name) for name in self.norms)
        out = self.relu(norm1(self.conv1(x)))
        out = norm3(self.conv3(self.relu(norm2(self.conv2(out)))))
        return self.join(x, out if self.attention is None else self.attention(out))


@dataclass(frozen=True)
class MobileStage:
    """What was found for a stage of the mobile network."""

    width: int
    blocks: int
    expansion: int
    kernel: int
    groups: int
    """Of the middle convolution, which isn't depthwise."""
    squeeze: bool
    stride: int
    act: Activation


MOBILE = (
    MobileStage(16, 1, 1, 3, 8, True, 1, "relu"),
    MobileStage(24, 4, 5, 7, 120, True, 2, "relu"),
    MobileStage(40, 4, 4, 7, 20, False, 2, "relu"),
    MobileStage(80, 4, 5, 5, 100, True, 2, "hard_swish"),
    MobileStage(112, 4, 5, 7, 280, True, 1, "hard_swish"),
    MobileStage(160, 4, 6, 5, 240, True, 2, "hard_swish"),
)


@register
class ViPNASMobileNetV3(Backbone):
    """The network that the search found among kin of MobileNetV3. Parameter names are OpenMMLab's.

    Args:
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        out_indices: stages to return, 0 is the first; of strides 2, 4, 8, 16, 16 and 32.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (5,),
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_stages(out_indices, range(len(MOBILE)), frozen_stages, len(MOBILE))
        self.norm_eval, self.recompute, self.out_indices = norm_eval, recompute, tuple(out_indices)
        channels, stride = 16, 2
        self.conv1 = ConvNormAct(3, channels, 3, stride=2, padding=1, norm=norm, act="hard_swish")
        self.stages: list[list[str]] = []
        widths, strides, count = [], [], 0
        for stage in MOBILE[: max(out_indices) + 1]:
            names = [f"layer{count + 1 + i}" for i in range(stage.blocks)]
            for i, name in enumerate(names):
                self.add_module(name, mobile_block(channels, stage, stage.stride if i == 0 else 1, norm))
                channels = stage.width
            count, stride = count + stage.blocks, stride * stage.stride
            self.stages.append(names)
            widths.append(channels)
            strides.append(stride)
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.strides = tuple(strides[i] for i in self.out_indices)
        init_conv(self, std=0.001)
        frozen = [name for names in self.stages[: max(frozen_stages, 0)] for name in names]
        self.start(weights, frozen=["conv1", *frozen] if frozen_stages >= 0 else [])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        x, maps = self.conv1(x), []
        for i, names in enumerate(self.stages):
            x = run([self.get_submodule(name) for name in names], x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


def mobile_block(channels: int, stage: MobileStage, stride: int, norm: NormKind) -> InvertedResidual:
    """One block of a stage, for a map of so many channels."""
    inner = stage.width * stage.expansion
    return InvertedResidual(
        channels,
        inner,
        stage.width,
        stage.kernel,
        stride=stride,
        groups=stage.groups,
        squeeze=SqueezeExcitation(inner, inner // 4, gate="steep_hard_sigmoid") if stage.squeeze else None,
        norm=norm,
        act=stage.act,
        residual=stride == 1 and channels == stage.width,
    )
