"""Darknet-53 (Redmon and Farhadi, YOLOv3, 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from omma.backbones.base import Backbone, check_stages, run
from omma.layers import ConvNormAct, NormKind
from omma.registry import register

_BLOCKS = (1, 2, 8, 8, 4)


@register
class Darknet(Backbone):
    """Five stages of 1x1 and 3x3 convolutions beside shortcuts; maps 0 to 5 have strides 1, 2, 4, 8, 16, 32.

    Args:
        out_indices: maps to return: 0 is the first convolution.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; k freezes maps 0 to k - 1.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        out_indices: tuple[int, ...] = (3, 4, 5),
        norm: NormKind = "bn",
        norm_eval: bool = True,
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_stages(out_indices, range(6), frozen_stages, 6)
        self.norm_eval = norm_eval
        self.out_indices = out_indices
        self.recompute = recompute
        self.out_channels = tuple(32 * 2**i for i in out_indices)
        self.strides = tuple(2**i for i in out_indices)
        self.conv1 = ConvNormAct(3, 32, 3, padding=1, norm=norm, act="leaky_relu")
        names = ["conv1"]
        for i in range(1, max(out_indices) + 1):
            names.append(f"conv_res_block{i}")
            self.add_module(names[-1], _stage(32 * 2**i, _BLOCKS[i - 1], norm))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1, mode="fan_out")
        self.parts = tuple(names)
        self.start(weights, frozen=names[: max(frozen_stages, 0)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        maps = []
        for i, name in enumerate(self.parts):
            part = getattr(self, name)
            x = run(part.children() if i else [part], x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


def _stage(channels: int, blocks: int, norm: NormKind) -> nn.Sequential:
    stage = nn.Sequential()
    conv = ConvNormAct(channels // 2, channels, 3, stride=2, padding=1, norm=norm, act="leaky_relu")
    stage.add_module("conv", conv)
    for i in range(blocks):
        stage.add_module(f"res{i}", DarknetBlock(channels, norm))
    return stage


class DarknetBlock(nn.Module):
    """1x1 convolution to half the channels and 3x3 back, added to the input."""

    def __init__(self, channels: int, norm: NormKind) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(channels, channels // 2, 1, norm=norm, act="leaky_relu")
        self.conv2 = ConvNormAct(channels // 2, channels, 3, padding=1, norm=norm, act="leaky_relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x + self.conv2(self.conv1(x))
