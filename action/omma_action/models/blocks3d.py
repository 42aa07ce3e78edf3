"""Residual blocks over time and space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from omma.layers import NormKind
from omma_action.models.bricks import ConvKind, ConvNormAct3d, Triple

TimeKernel = Literal["3x1x1", "3x3x3"]
"""Where an inflated bottleneck sees time: in its first convolution, or in its second."""
Separation = Literal["ip", "ir"]
"""Depthwise convolutions that preserve (``ip``, by one of 1x1x1 before) or reduce (``ir``) the interaction of
channels (Tran et al., CSN, 2019)."""


@dataclass(frozen=True, kw_only=True)
class BlockForm3d:
    """What the blocks of a network have in common."""

    norm: NormKind = "bn"
    conv: ConvKind = "3d"
    kernel: TimeKernel = "3x1x1"
    separation: Separation | None = None


class Block3d(nn.Module, ABC):
    """Layers beside a shortcut: (N, C, T, H, W) to (N, expansion * width, T / s, H / s', W / s').

    Args:
        in_channels: C.
        width: of the stage.
        stride: of the block: frames, pixels, pixels.
        form: what the network's blocks have in common.
        inflate: whether it sees several frames.
    """

    expansion: ClassVar[int]

    def __init__(
        self, in_channels: int, width: int, *, stride: Triple, form: BlockForm3d, inflate: bool
    ) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.downsample = None
        if stride[1] != 1 or in_channels != out_channels:
            self.downsample = ConvNormAct3d(
                in_channels, out_channels, stride=stride, norm=form.norm, act=None, kind=form.conv
            )
        self.relu = nn.ReLU(inplace=True)
        self.non_local_block: nn.Module | None = None

    @property
    @abstractmethod
    def last_norm(self) -> nn.Module:
        """Of the last layer beside the shortcut."""

    def join(self, x: Tensor, out: Tensor) -> Tensor:
        """The block's output, from its input ``x`` and what its layers made of it."""
        out = self.relu(out + (x if self.downsample is None else self.downsample(x)))
        return out if self.non_local_block is None else self.non_local_block(out)


class BasicBlock3d(Block3d):
    """Two 3x3x3 (inflated) or 1x3x3 convolutions beside a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(
        self, in_channels: int, width: int, *, stride: Triple, form: BlockForm3d, inflate: bool
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, inflate=inflate)
        kernel: Triple = (3 if inflate else 1, 3, 3)
        self.conv1 = ConvNormAct3d(in_channels, width, kernel, stride=stride, norm=form.norm, kind=form.conv)
        self.conv2 = ConvNormAct3d(width, width, kernel, norm=form.norm, act=None, kind=form.conv)

    @property
    def last_norm(self) -> nn.Module:
        """Of the second convolution."""
        return getattr(self.conv2, self.conv2.norm_name or "")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, width, T / s, H / s', W / s')."""
        return self.join(x, self.conv2(self.conv1(x)))


class Bottleneck3d(Block3d):
    """Narrow, look around in space and (inflated) time, widen, beside a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_channels: int, width: int, *, stride: Triple, form: BlockForm3d, inflate: bool
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, inflate=inflate)
        first = 3 if inflate and form.kernel == "3x1x1" else 1
        second = 3 if inflate and form.kernel == "3x3x3" else 1
        norm, kind = form.norm, form.conv
        self.conv1 = ConvNormAct3d(in_channels, width, (first, 1, 1), norm=norm, kind=kind)
        groups = 1 if form.separation is None else width
        conv2 = ConvNormAct3d(
            width, width, (second, 3, 3), stride=stride, groups=groups, norm=norm, kind=kind
        )
        mixing = [ConvNormAct3d(width, width, norm=norm, act=None)] if form.separation == "ip" else []
        self.conv2 = conv2 if form.separation is None else nn.Sequential(*mixing, conv2)
        self.conv3 = ConvNormAct3d(width, width * self.expansion, norm=norm, act=None, kind=kind)

    @property
    def last_norm(self) -> nn.Module:
        """Of the third convolution."""
        return getattr(self.conv3, self.conv3.norm_name or "")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, 4 * width, T / s, H / s', W / s')."""
        return self.join(x, self.conv3(self.conv2(self.conv1(x))))


BLOCKS: dict[bool, type[Block3d]] = {True: BasicBlock3d, False: Bottleneck3d}
"""Of shallow networks (under 50 layers), and of others."""
