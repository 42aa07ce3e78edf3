"""RSN (Cai et al., Learning Delicate Local Representations for Multi-Person Pose Estimation, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones.mspn import STEM, MultiStageNet
from omma.layers import ConvNormAct, NormKind
from omma.registry import register


@register
class RSN(MultiStageNet):
    """MSPN of blocks in which parts of the channels take more and more steps.

    Parameter names are OpenMMLab's.

    Args:
        stages: networks one after another.
        blocks: of residual steps, at strides 4, 8, 16 and 32.
        channels: of the maps.
        steps: parts of the channels, and steps of the last one.
        branch_channels: of each part, for a block that takes 64 channels; in proportion for others.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    stages_name = "multi_stage_rsn"

    def __init__(
        self,
        *,
        stages: int = 4,
        blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
        channels: int = 256,
        steps: int = 4,
        branch_channels: int = 26,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if steps < 2 or branch_channels < 1:
            raise ValueError(f"need two steps and a channel, got {steps} and {branch_channels}")

        def block(in_channels: int, width: int, stride: int, shortcut: nn.Module | None) -> nn.Module:
            branch = in_channels * branch_channels // STEM
            return ResidualSteps(in_channels, width, branch, steps, stride, norm, shortcut)

        self.build(
            stages=stages,
            blocks=blocks,
            channels=channels,
            expansion=1,
            make_block=block,
            norm=norm,
            norm_eval=norm_eval,
            weights=weights,
        )


class ResidualSteps(nn.Module):
    """Part i of the channels takes i 3x3 convolutions; what part i - 1 had after one joins before the next.

    Args:
        in_channels: C.
        width: C'.
        branch: channels of each part.
        steps: parts.
        stride: of the block.
        norm: kind of the norms.
        downsample: the shortcut, where it isn't the identity.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        branch: int,
        steps: int,
        stride: int,
        norm: NormKind,
        downsample: nn.Module | None,
    ) -> None:
        super().__init__()
        self.steps, self.branch = steps, branch
        self.conv_bn_relu1 = ConvNormAct(in_channels, steps * branch, 1, stride=stride, norm=norm)
        for i in range(1, steps + 1):
            for j in range(1, i + 1):
                conv = ConvNormAct(branch, branch, 3, padding=1, norm=norm)
                self.add_module(f"conv_bn_relu2_{i}_{j}", conv)
        self.conv_bn3 = ConvNormAct(steps * branch, width, 1, norm=norm, act=None)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        parts = self.conv_bn_relu1(x).split(self.branch, dim=1)
        above: list[Tensor] = []
        made: list[Tensor] = []
        for i, part in enumerate(parts, start=1):
            row: list[Tensor] = []
            for j in range(1, i + 1):
                part = part + above[j - 1] if j < i else part
                part = self.get_submodule(f"conv_bn_relu2_{i}_{j}")(part)
                row.append(part)
            above = row
            made.append(part)
        out = self.conv_bn3(torch.cat(made, dim=1))
        return torch.relu(out + (x if self.downsample is None else self.downsample(x)))
