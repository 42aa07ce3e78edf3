"""Deformable convolutions that find their own offsets, and one that is told them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.ops import deform_conv2d


class DeformConv2d(nn.Module):
    """Deformable convolution (Dai et al., Deformable Convolutional Networks, 2017).

    An ordinary convolution, ``conv_offset``, predicts where the taps read; it starts at zero, so that the
    module starts as an ordinary convolution. Parameter names are OpenMMLab's. For arguments see
    ``nn.Conv2d``; ``deform_groups`` is the number of channel groups that have offsets of their own.
    """

    added_names = ("conv_offset",)
    """What the weights of a network with ordinary convolutions lack."""
    _outputs_per_tap = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups or in_channels % deform_groups:
            raise ValueError(
                f"{in_channels} and {out_channels} channels can't be split into groups={groups}, "
                f"deform_groups={deform_groups}"
            )
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.conv_offset = nn.Conv2d(
            in_channels,
            deform_groups * self._outputs_per_tap * kernel_size**2,
            kernel_size,
            stride,
            padding,
            dilation,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He et al.'s weights for ReLU, no bias, no offsets."""
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        for value in self.conv_offset.parameters():
            nn.init.zeros_(value)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return self._convolve(x, self.conv_offset(x), None)

    def _convolve(self, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
        return deform_conv2d(
            x,
            offset,
            self.weight,
            self.bias,
            mask=mask,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )


class ModulatedDeformConv2d(DeformConv2d):
    """Deformable convolution whose taps are also weighted (Zhu et al., Deformable ConvNets v2, 2018).

    Of ``conv_offset``'s channels the first two thirds are the offsets and the last, through a sigmoid, the
    weights, which therefore start at a half.
    """

    _outputs_per_tap = 3

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        found = self.conv_offset(x)
        taps = found.shape[1] // 3
        return self._convolve(x, found[:, : 2 * taps], found[:, 2 * taps :].sigmoid())


class GuidedDeformConv2d(nn.Module):
    """A deformable convolution that is told where its taps read; without bias, as ``DeformConv2d`` else."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W'); offset and mask as ``omma.ops.deform_conv2d`` takes them."""
        return deform_conv2d(x, offset, self.weight, mask=mask, stride=self.stride, padding=self.padding)
