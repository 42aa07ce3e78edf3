"""Res2Net (Gao et al., Res2Net: A New Multi-scale Backbone Architecture, 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from omma.backbones.residual import BlockForm, ResidualBlock, ResidualNet, Style, make_stage
from omma.backbones.resnet import architecture
from omma.layers import NormKind, make_norm, norm_name
from omma.registry import register


@register
class Res2Net(ResidualNet):
    """ResNet whose bottlenecks convolve slices of the channels one after the other.

    Its published form has a deep stem and averages in shortcuts (Res2Net-v1b).

    Args:
        depth: number of layers.
        scales: slices of a bottleneck's channels.
        slice_width: channels of a slice in the first stage; it doubles with each stage.
        style: position of a bottleneck's stride.
        deep_stem: three 3x3 convolutions in place of the 7x7 one.
        avg_down: average in shortcuts in place of a stride.
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
        depth: Literal[50, 101, 152],
        scales: int = 4,
        slice_width: int = 26,
        style: Style = "pytorch",
        deep_stem: bool = True,
        avg_down: bool = True,
        norm: NormKind = "bn",
        norm_eval: bool = True,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if depth not in (50, 101, 152):
            raise ValueError(f"depth must be one of 50, 101, 152, got {depth}")
        if scales < 2:
            raise ValueError(f"scales must be at least 2, got {scales}")
        _, blocks = architecture(depth)
        widths = [256 * 2**i for i in range(4)]
        self.declare(out_indices, widths, (4, 1, 2, 2, 2), frozen_stages)
        self.norm_eval = norm_eval
        self.recompute = recompute
        self.add_stem(64, norm, deep=deep_stem)
        form = Res2Form(style=style, norm=norm, avg_down=avg_down, width_per_group=slice_width, scales=scales)
        channels = 64
        for i in range(max(out_indices) + 1):
            ones = (1,) * blocks[i]
            stage = make_stage(
                Res2Bottleneck, channels, 64 * 2**i, stride=min(i + 1, 2), form=form, dilations=ones
            )
            self.add_module(f"layer{i + 1}", stage)
            channels = widths[i]
        self.finish(zero_init_residual=False, frozen_stages=frozen_stages, norm_frozen=False, weights=weights)


@dataclass(frozen=True, kw_only=True)
class Res2Form(BlockForm):
    """What the blocks of a stage have in common."""

    scales: int = 4


class Res2Bottleneck(ResidualBlock):
    """1x1, slices of 3x3 and 1x1 convolutions beside a shortcut.

    Within a stage each slice is added to what the one before gave; in the stage's first block, which may have
    a stride, slices are on their own and the last is averaged.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, downsample=downsample)
        assert isinstance(form, Res2Form)
        first, second = (stride, 1) if form.style == "caffe" else (1, stride)
        self.slice_width = form.inner_width(width)
        inner, out_channels = self.slice_width * form.scales, width * self.expansion
        # Only a stage's first block has a shortcut with parameters.
        self.opens_stage = downsample is not None
        self.norms = tuple(f"{norm_name(form.norm)}{i}" for i in (1, 3))
        self.conv1 = nn.Conv2d(in_channels, inner, 1, first, bias=False)
        self.add_module(self.norms[0], make_norm(form.norm, inner))
        pooled = self.opens_stage and second != 1
        self.pool = nn.AvgPool2d(3, second, padding=1) if pooled else nn.Identity()
        convs = (
            nn.Conv2d(self.slice_width, self.slice_width, 3, second, 1, bias=False)
            for _ in range(form.scales - 1)
        )
        self.convs = nn.ModuleList(convs)
        self.bns = nn.ModuleList(make_norm(form.norm, self.slice_width) for _ in self.convs)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.add_module(self.norms[1], make_norm(form.norm, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 4 * width, H / stride, W / stride)."""
        norm1, norm3 = (getattr(self, name) for name in self.norms)
        slices = self.relu(norm1(self.conv1(x))).split(self.slice_width, dim=1)
        done: list[Tensor] = []
        for part, conv, norm in zip(slices, self.convs, self.bns):
            if done and not self.opens_stage:
                part = part + done[-1]
            done.append(self.relu(norm(conv(part))))
        out = norm3(self.conv3(torch.cat([*done, self.pool(slices[-1])], dim=1)))
        return self.join(x, out)
