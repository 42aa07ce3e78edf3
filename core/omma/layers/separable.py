"""Depthwise separable convolution (Howard et al., MobileNets, 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from omma.layers.conv import Activation, ConvNormAct
from omma.layers.norm import NormKind


class SeparableConv(nn.Module):
    """A depthwise convolution and a 1x1 one, each with norm and activation: (N, C, H, W) to (N, C', H', W').

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: of the depthwise convolution, pixels.
        stride, padding, dilation: of the depthwise convolution.
        norm: kind of the norms, or null for none.
        act: activation after each, or null for none.
        depthwise_act: have it after the depthwise convolution too.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        norm: NormKind | None = None,
        act: Activation | None = "relu",
        depthwise_act: bool = True,
    ) -> None:
        super().__init__()
        self.depthwise_conv = ConvNormAct(
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=in_channels,
            norm=norm,
            act=act if depthwise_act else None,
        )
        self.pointwise_conv = ConvNormAct(in_channels, out_channels, 1, norm=norm, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return self.pointwise_conv(self.depthwise_conv(x))
