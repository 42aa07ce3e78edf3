"""ResNeSt (Zhang et al., ResNeSt: Split-Attention Networks, 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from omma.backbones.residual import BlockForm, ResidualBlock, ResidualNet, make_stage
from omma.backbones.resnet import spread
from omma.layers import NormKind, make_norm
from omma.registry import register


@register
class ResNeSt(ResidualNet):
    """ResNet-D whose 3x3 convolutions weigh several splits of the channels against each other.

    Args:
        depth: number of layers.
        stem_channels: channels of the stem: 64 in depth 50, 128 in the deeper ones.
        stem_bricks: call the layers of the stem ``stem.0.conv``, ``stem.0.bn`` ..., as checkpoints of pose
            and of mmpretrain do, in place of ``stem.0``, ``stem.1`` ... (detection and segmentation).
        radix: splits.
        reduction: of the channels that the weights are computed from.
        groups: of the 3x3 convolutions.
        width_per_group: their channels per group in the first stage, where there is more than one.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        out_indices: stages to return, 0 is the first.
        stage_strides: stride of each stage's first block; the stem has 4.
        dilations: of the 3x3 convolutions of each stage.
        contract_dilation: halve the dilation in the first block of each dilated stage.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: Literal[50, 101, 152, 200],
        stem_channels: int = 64,
        stem_bricks: bool = False,
        radix: int = 2,
        reduction: int = 4,
        groups: int = 1,
        width_per_group: int = 4,
        norm: NormKind = "bn",
        norm_eval: bool = True,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        stage_strides: tuple[int, int, int, int] = (1, 2, 2, 2),
        dilations: tuple[int, int, int, int] = (1, 1, 1, 1),
        contract_dilation: bool = False,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if depth not in _BLOCKS:
            raise ValueError(f"depth must be one of {', '.join(map(str, _BLOCKS))}, got {depth}")
        blocks = _BLOCKS[depth]
        widths = [256 * 2**i for i in range(4)]
        self.declare(out_indices, widths, (4, *stage_strides), frozen_stages)
        self.norm_eval = norm_eval
        self.recompute = recompute
        self.add_stem(stem_channels, norm, deep=True, bricks=stem_bricks)
        form = SplitForm(
            norm=norm,
            groups=groups,
            width_per_group=width_per_group if groups > 1 else None,
            avg_down=True,
            radix=radix,
            reduction=reduction,
        )
        channels = stem_channels
        for i in range(max(out_indices) + 1):
            grid = spread(dilations[i], blocks[i], contract=contract_dilation)
            stage = make_stage(
                SplitBottleneck, channels, 64 * 2**i, stride=stage_strides[i], form=form, dilations=grid
            )
            self.add_module(f"layer{i + 1}", stage)
            channels = widths[i]
        self.finish(zero_init_residual=False, frozen_stages=frozen_stages, norm_frozen=False, weights=weights)


@dataclass(frozen=True, kw_only=True)
class SplitForm(BlockForm):
    """What the blocks of a stage have in common."""

    radix: int = 2
    reduction: int = 4


class SplitBottleneck(ResidualBlock):
    """1x1, split-attention and 1x1 convolutions beside a shortcut; a stride is an average before the last."""

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, downsample=downsample)
        assert isinstance(form, SplitForm)
        inner, out_channels = form.inner_width(width), width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = make_norm(form.norm, inner)
        self.conv2 = SplitAttentionConv(inner, form)
        self.avd_layer = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = make_norm(form.norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 4 * width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.avd_layer(self.conv2(out))))
        return self.join(x, out)


class SplitAttentionConv(nn.Module):
    """A 3x3 convolution to ``radix`` splits, and their mean weighted by channel."""

    def __init__(self, channels: int, form: SplitForm) -> None:
        super().__init__()
        d = form.dilation
        self.radix, self.groups = form.radix, form.groups
        splits, hidden = channels * form.radix, max(channels * form.radix // form.reduction, 32)
        groups = form.groups * form.radix
        self.conv = nn.Conv2d(channels, splits, 3, padding=d, dilation=d, groups=groups, bias=False)
        self.bn0 = make_norm(form.norm, splits)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, hidden, 1, groups=form.groups)
        self.bn1 = make_norm(form.norm, hidden)
        self.fc2 = nn.Conv2d(hidden, splits, 1, groups=form.groups)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        splits = self.relu(self.bn0(self.conv(x)))
        splits = splits.unflatten(1, (self.radix, -1))  # (N, R, C, H, W)
        gap = splits.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        logits = self.fc2(self.relu(self.bn1(self.fc1(gap)))).flatten(1)
        # The second convolution's channels are ordered by group, then split.
        logits = logits.unflatten(1, (self.groups, self.radix, -1)).transpose(1, 2)
        weights = logits.softmax(dim=1) if self.radix > 1 else logits.sigmoid()
        weights = weights.flatten(2)[..., None, None]  # (N, R, C, 1, 1)
        return torch.sum(weights * splits, dim=1)


_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
