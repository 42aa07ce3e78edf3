"""Convolutions that pad as TensorFlow does, for networks that were first trained there."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omma.layers.conv import Activation, ConvNormAct
from omma.layers.norm import NormKind


class SameConv(ConvNormAct):
    """A convolution that pads to ``stride`` times the output, more at the end than at the front.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: of the square kernel, pixels.
        stride, dilation, groups: as ``nn.Conv2d``.
        norm: kind of the norm, or null for none.
        act: activation, or null for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: NormKind | None = None,
        act: Activation | None = "relu",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            norm=norm,
            act=act,
        )
        self.reach, self.stride = dilation * (kernel_size - 1) + 1, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        pads = []
        for side in (x.shape[-1], x.shape[-2]):
            missing = max((-(-side // self.stride) - 1) * self.stride + self.reach - side, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads) if any(pads) else x)
