"""The block of MobileNetV3 and EfficientNet (Sandler et al., 2018; Howard et al., 2019; Tan and Le, 2019)."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from omma.layers.conv import Activation, ConvNormAct
from omma.layers.norm import NormKind
from omma.layers.same_conv import SameConv
from omma.layers.squeeze import SqueezeExcitation


class InvertedResidual(nn.Module):
    """Widen, depthwise convolution, weigh the channels, narrow: (N, C, H, W) to (N, C', H / s, W / s).

    The children are called ``expand_conv``, ``depthwise_conv``, ``se`` and ``linear_conv``, as in OpenMMLab's
    checkpoints.

    Args:
        in_channels: C.
        inner: channels of the depthwise convolution; those of the input: nothing is widened.
        out_channels: C'.
        kernel_size: of the depthwise convolution, pixels.
        stride, dilation: of the depthwise convolution; the stride is s.
        groups: of that convolution, where it isn't depthwise after all.
        squeeze: weighs the ``inner`` channels; null: they count alike.
        norm: kind of the norms.
        act: activation.
        same_padding: pad a strided convolution more at the end than at the front, as TensorFlow does.
        residual: add the input, which must have the shape of the output.
        drop_path: how often what is added to the input is left out in training, for an image as a whole.
    """

    def __init__(
        self,
        in_channels: int,
        inner: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int | None = None,
        squeeze: SqueezeExcitation | None = None,
        norm: NormKind,
        act: Activation,
        same_padding: bool = False,
        residual: bool,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.residual = residual
        groups = groups or inner
        wide = inner == in_channels
        self.expand_conv = nn.Identity() if wide else ConvNormAct(in_channels, inner, 1, norm=norm, act=act)
        if same_padding:
            self.depthwise_conv = SameConv(
                inner, inner, kernel_size, stride=stride, dilation=dilation, groups=groups, norm=norm, act=act
            )
        else:
            self.depthwise_conv = ConvNormAct(
                inner,
                inner,
                kernel_size,
                stride=stride,
                padding=dilation * (kernel_size // 2),
                dilation=dilation,
                groups=groups,
                norm=norm,
                act=act,
            )
        self.se = squeeze or nn.Identity()
        self.linear_conv = ConvNormAct(inner, out_channels, 1, norm=norm, act=None)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / s, W / s)."""
        out = self.linear_conv(self.se(self.depthwise_conv(self.expand_conv(x))))
        return x + self.drop_path(out) if self.residual else out


def rounded(channels: float) -> int:
    """The multiple of 8 next to ``channels``, but not below nine tenths of it."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
