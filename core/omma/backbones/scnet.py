"""SCNet (Liu et al., Improving Convolutional Networks with Self-Calibrated Convolutions, 2020)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.residual import BlockForm, ResidualBlock, ResidualNet, make_stage
from omma.backbones.resnet import architecture
from omma.layers import NormKind, WindowMean, make_norm, norm_name
from omma.registry import register


@register
class SCNet(ResidualNet):
    """ResNet half of whose channels are convolved under the eye of a coarser view of themselves.

    Args:
        depth: number of layers.
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
        depth: Literal[50, 101],
        deep_stem: bool = False,
        avg_down: bool = False,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if depth not in (50, 101):
            raise ValueError(f"depth must be one of 50, 101, got {depth}")
        self.declare(out_indices, [256 * 2**i for i in range(4)], (4, 1, 2, 2, 2), frozen_stages)
        self.norm_eval = norm_eval
        self.recompute = recompute
        self.add_stem(64, norm, deep=deep_stem)
        form = BlockForm(norm=norm, avg_down=avg_down)
        channels = 64
        for i, blocks in enumerate(architecture(depth)[1][: max(out_indices) + 1]):
            stride = 1 if i == 0 else 2
            stage = make_stage(
                CalibratedBottleneck, channels, 64 * 2**i, stride=stride, form=form, dilations=(1,) * blocks
            )
            self.add_module(f"layer{i + 1}", stage)
            channels = 256 * 2**i
        self.finish(zero_init_residual=False, frozen_stages=frozen_stages, norm_frozen=False, weights=weights)


class CalibratedBottleneck(ResidualBlock):
    """Plain and self-calibrated 3x3 convolutions side by side, between 1x1 ones and beside a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, downsample=downsample)
        half, out_channels = width // 2, width * self.expansion
        self.norms = tuple(f"{norm_name(form.norm)}{i}" for i in (1, 2, 3))
        self.conv1 = nn.Conv2d(in_channels, half, 1, bias=False)
        self.add_module(self.norms[0], make_norm(form.norm, half))
        self.k1 = nn.Sequential(*_conv3(half, stride, form.norm), nn.ReLU(inplace=True))
        self.conv2 = nn.Conv2d(in_channels, half, 1, bias=False)
        self.add_module(self.norms[1], make_norm(form.norm, half))
        self.scconv = CalibratedConv(half, stride, form.norm)
        self.conv3 = nn.Conv2d(2 * half, out_channels, 1, bias=False)
        self.add_module(self.norms[2], make_norm(form.norm, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 4 * width, H / stride, W / stride)."""
        norm1, norm2, norm3 = (getattr(self, name) for name in self.norms)
        plain = self.k1(self.relu(norm1(self.conv1(x))))
        calibrated = self.scconv(self.relu(norm2(self.conv2(x))))
        return self.join(x, norm3(self.conv3(torch.cat([plain, calibrated], dim=1))))


class CalibratedConv(nn.Module):
    """A convolution gated by the map and by a convolution of its averages over 4 x 4, then another one."""

    def __init__(self, channels: int, stride: int, norm: NormKind) -> None:
        super().__init__()
        self.k2 = nn.Sequential(WindowMean(4, (4, 4)), *_conv3(channels, 1, norm))
        self.k3 = nn.Sequential(*_conv3(channels, 1, norm))
        self.k4 = nn.Sequential(*_conv3(channels, stride, norm), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / stride, W / stride)."""
        coarse = F.interpolate(self.k2(x), x.shape[-2:], mode="nearest")
        return self.k4(self.k3(x) * (x + coarse).sigmoid())


def _conv3(channels: int, stride: int, norm: NormKind) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False), make_norm(norm, channels)
