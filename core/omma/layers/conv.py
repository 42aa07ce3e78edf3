"""Convolution, normalisation, activation: the brick of every neck and head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from omma.layers.deform_conv import DeformConv2d, ModulatedDeformConv2d
from omma.layers.norm import NormKind, make_norm, norm_name

DeformVersion = Literal[1, 2]
"""Of deformable convolutions: 1, or 2 for the modulated kind."""
Activation = Literal["relu", "relu6", "silu", "hard_swish", "leaky_relu"]
"""``leaky_relu`` has a slope of 0.1 below zero, as in Darknet."""
_ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hard_swish": nn.Hardswish,
    "leaky_relu": partial(nn.LeakyReLU, 0.1),
}


class ConvNormAct(nn.Module):
    """Convolution, then an optional norm, then an optional activation: (N, C, H, W) to (N, C', H', W').

    The children are called ``conv`` and, by kind, ``bn`` or ``gn``, as in OpenMMLab's checkpoints.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: of the square kernel, pixels.
        stride, padding, dilation, groups: as ``nn.Conv2d``.
        bias: of the convolution; null: only where no norm follows.
        norm: kind of the norm, or null for none.
        act: activation, or null for none.
        deform: deformable convolution in place of the ordinary one: 1, or 2 for the modulated kind.
        deform_groups: channel groups with offsets of their own.
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
        groups: int = 1,
        bias: bool | None = None,
        norm: NormKind | None = None,
        act: Activation | None = "relu",
        deform: DeformVersion | None = None,
        deform_groups: int = 1,
    ) -> None:
        super().__init__()
        bias = norm is None if bias is None else bias
        if deform is None:
            self.conv = nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, dilation, groups=groups, bias=bias
            )
        else:
            self.conv = (DeformConv2d if deform == 1 else ModulatedDeformConv2d)(
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                padding=padding,
                dilation=dilation,
                groups=groups,
                deform_groups=deform_groups,
                bias=bias,
            )
        self.norm_name = norm_name(norm) if norm else None
        if norm:
            self.add_module(norm_name(norm), make_norm(norm, out_channels))
        self.act = _ACTIVATIONS[act](inplace=True) if act else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        x = self.conv(x)
        if self.norm_name:
            x = getattr(self, self.norm_name)(x)
        return self.act(x) if self.act else x
