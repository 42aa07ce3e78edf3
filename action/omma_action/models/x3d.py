"""X3D (Feichtenhofer, Expanding Architectures for Efficient Video Recognition, 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from omma.backbones.base import check_stages, run
from omma.layers import NormKind, rounded
from omma.registry import register
from omma_action.models.bricks import ConvNormAct3d, Triple, init_clips
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.heads.class_head import ClassHead, linear
from omma_action.models.heads.pooled import mean_of

_BLOCKS = (1, 2, 5, 3)
_HIDDEN = 2048


@register
class X3D(ClipBackbone):
    """Four stages of depthwise bottlenecks at spatial strides 4, 8, 16, 32; frames are never merged.

    Args:
        width: factor of the channels, 24 in the first stage.
        bottleneck: channels of the depthwise convolutions over those of the stage.
        depth: factor of the number of blocks, 1, 2, 5 and 3.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: ``frozen_stages`` is out of range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        bottleneck: float = 1.0,
        depth: float = 1.0,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_stages((3,), range(4), frozen_stages, 4)
        self.norm_eval, self.recompute = norm_eval, recompute
        base = rounded(24 * width)
        self.conv1_s = ConvNormAct3d(3, base, (1, 3, 3), stride=(1, 2, 2), bias=False, act=None)
        self.conv1_t = ConvNormAct3d(base, base, (5, 1, 1), groups=base, norm=norm)
        channels = base
        for i, count in enumerate(_BLOCKS):
            out, blocks = rounded(base * 2**i), []
            for j in range(math.ceil(count * depth)):
                step = 2 if j == 0 else 1
                blocks.append(
                    BlockX3D(channels, int(out * bottleneck), out, stride=step, squeeze=j % 2 == 0, norm=norm)
                )
                channels = out
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        inner = int(channels * bottleneck)
        self.conv5 = ConvNormAct3d(channels, inner, norm=norm)
        self.out_channels = (inner,)
        init_clips(self)
        frozen = ["conv1_s", "conv1_t", *(f"layer{i}" for i in range(1, frozen_stages + 1))]
        self.start(weights, frozen=frozen if frozen_stages >= 0 else [])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, T, H, W) -> one (N, C', T, H / 32, W / 32)."""
        x = self.conv1_t(self.conv1_s(x))
        for i in range(4):
            x = run(self.get_submodule(f"layer{i + 1}").children(), x, recompute=self.recompute)
        return (self.conv5(x),)


class BlockX3D(nn.Module):
    """Widen, depthwise convolution, weigh the channels on wish, narrow, beside a shortcut.

    Args:
        in_channels: C.
        inner: of the depthwise convolution.
        out_channels: C'.
        stride: in space.
        squeeze: whether channels are weighed.
        norm: kind of the norms.
    """

    def __init__(
        self, in_channels: int, inner: int, out_channels: int, *, stride: int, squeeze: bool, norm: NormKind
    ) -> None:
        super().__init__()
        step: Triple = (1, stride, stride)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = ConvNormAct3d(in_channels, out_channels, stride=step, norm=norm, act=None)
        self.conv1 = ConvNormAct3d(in_channels, inner, norm=norm)
        self.conv2 = ConvNormAct3d(inner, inner, (3, 3, 3), stride=step, groups=inner, norm=norm, act=None)
        self.se_module = Squeeze3d(inner, rounded(inner / 16)) if squeeze else nn.Identity()
        self.swish = nn.SiLU(inplace=True)
        self.conv3 = ConvNormAct3d(inner, out_channels, norm=norm, act=None)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C', T, H / stride, W / stride)."""
        out = self.conv3(self.swish(self.se_module(self.conv2(self.conv1(x)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Squeeze3d(nn.Module):
    """Weighs the channels of (N, C, T, H, W) by what they are on average (Hu et al., 2017)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv3d(channels, hidden, 1)
        self.fc2 = nn.Conv3d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        return x * self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3, 4), keepdim=True)))).sigmoid()


@register
class X3DHead(ClassHead):
    """Averages over time and space, then two layers, called ``fc1`` and ``fc2``.

    Args:
        num_classes, in_channels, dropout, init_std, loss, label_smoothing, average: as ``ClassHead``.
    """

    classifier: ClassVar[str] = "fc2"

    def add_classifier(self) -> None:
        """Makes both layers."""
        self.fc1 = linear(self.in_channels, _HIDDEN, std=self.init_std, bias=False)
        self.fc2 = linear(_HIDDEN, self.num_classes, std=self.init_std)

    def forward(self, maps: Sequence[Tensor], clips: int) -> Tensor:
        """Scores (B, C)."""
        return self.fc2(self.dropout(torch.relu(self.fc1(mean_of(maps[-1])))))
