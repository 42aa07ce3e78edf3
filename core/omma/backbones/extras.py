"""What the blocks of chosen stages of a backbone have besides their own layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import nn

from omma.layers import ContextBlock, DeformConv2d, ModulatedDeformConv2d, SqueezeExcitation
from omma.registry import register


@dataclass(frozen=True, kw_only=True)
class Deform:
    """Deformable convolutions in place of the 3x3 ones of bottlenecks."""

    version: Literal[1, 2] = 1
    """1: Deformable ConvNets; 2: modulated."""
    deform_groups: int = 1
    """Channel groups with offsets of their own."""
    stages: tuple[int, ...] = (1, 2, 3)
    """0 is the first."""

    def make(self, channels: int, stride: int, dilation: int, groups: int) -> DeformConv2d:
        """The 3x3 convolution of a block."""
        kind = DeformConv2d if self.version == 1 else ModulatedDeformConv2d
        return kind(
            channels,
            channels,
            3,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=groups,
            deform_groups=self.deform_groups,
        )


class Plugin(ABC):
    """A module behind the last norm of each block of some stages, before the shortcut is added.

    Args:
        stages: 0 is the first.
    """

    name: str
    """Attribute of the block that OpenMMLab's checkpoints store the module under."""

    def __init__(self, *, stages: tuple[int, ...] = (1, 2, 3)) -> None:
        self.stages = stages

    @abstractmethod
    def make(self, channels: int) -> nn.Module:
        """The module for one block: (N, channels, H, W) to the same shape."""


@register
class ContextPlugin(Plugin):
    """Global context (Cao et al., GCNet, 2019).

    Args:
        reduction: of the channels within the block, 16 and 4 in the paper.
        stages: 0 is the first.
    """

    name = "context_block"

    def __init__(self, *, reduction: int = 16, stages: tuple[int, ...] = (1, 2, 3)) -> None:
        super().__init__(stages=stages)
        self.reduction = reduction

    def make(self, channels: int) -> ContextBlock:
        """A context block of ``channels``."""
        return ContextBlock(channels, reduction=self.reduction)


@register
class SqueezePlugin(Plugin):
    """Squeeze and excitation (Hu et al., Squeeze-and-Excitation Networks, 2017).

    Args:
        reduction: of the channels within it.
        stages: 0 is the first.
    """

    name = "se_layer"

    def __init__(self, *, reduction: int = 16, stages: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        super().__init__(stages=stages)
        self.reduction = reduction

    def make(self, channels: int) -> SqueezeExcitation:
        """Weights for ``channels``."""
        return SqueezeExcitation(channels, channels // self.reduction)
