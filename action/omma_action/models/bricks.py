"""Convolution, norm, activation over time and space: the brick of networks on clips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from omma.layers import NormForm, NormKind, SyncBatchNorm, norm_name

Triple = tuple[int, int, int]
"""Along time, height and width."""
ConvKind = Literal["3d", "2plus1d"]
"""A convolution over time and space at once, or over space and then over time (Tran et al., 2018)."""
ClipActivation = Literal["relu", "silu"]
_ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU}


def make_norm3d(kind: NormKind, channels: int) -> nn.Module:
    """A normalisation layer for (N, ``channels``, T, H, W)."""
    form = kind if isinstance(kind, NormForm) else NormForm(kind=kind)
    if form.kind == "gn":
        return nn.GroupNorm(form.groups, channels, eps=form.eps)
    batch_norm = nn.BatchNorm3d if form.kind == "bn" else SyncBatchNorm
    return batch_norm(channels, eps=form.eps, momentum=form.momentum)


class SplitConv3d(nn.Module):
    """A convolution over space, a batch norm, and one over time: (N, C, T, H, W) to (N, C', T', H', W').

    It has about as many parameters as the convolution that it stands for (Tran et al., A Closer Look at
    Spatiotemporal Convolutions, 2018); the count of channels in between takes kernels of three frames for
    granted, as the published weights do.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size, stride, padding: of that convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Triple,
        *,
        stride: Triple,
        padding: Triple,
    ) -> None:
        super().__init__()
        area = kernel_size[1] * kernel_size[2]
        inner = 3 * in_channels * out_channels * area // (in_channels * area + 3 * out_channels)
        self.conv_s = nn.Conv3d(
            in_channels,
            inner,
            (1, *kernel_size[1:]),
            stride=(1, *stride[1:]),
            padding=(0, *padding[1:]),
            bias=False,
        )
        self.bn_s = nn.BatchNorm3d(inner)
        self.relu = nn.ReLU(inplace=True)
        self.conv_t = nn.Conv3d(
            inner,
            out_channels,
            (kernel_size[0], 1, 1),
            stride=(stride[0], 1, 1),
            padding=(padding[0], 0, 0),
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C', T', H', W')."""
        return self.conv_t(self.relu(self.bn_s(self.conv_s(x))))


class ConvNormAct3d(nn.Module):
    """Convolution, optional norm, optional activation: (N, C, T, H, W) to (N, C', T', H', W').

    The children are called ``conv`` and, by kind, ``bn`` or ``gn``, as in OpenMMLab's checkpoints.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: frames, and pixels.
        stride: likewise.
        padding: likewise; null: half of the kernel, so that without a stride the size stays.
        groups: as ``nn.Conv3d``.
        bias: of the convolution; null: only where no norm follows.
        norm: kind of the norm, or null for none.
        act: activation, or null for none.
        kind: of the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Triple = (1, 1, 1),
        *,
        stride: Triple = (1, 1, 1),
        padding: Triple | None = None,
        groups: int = 1,
        bias: bool | None = None,
        norm: NormKind | None = None,
        act: ClipActivation | None = "relu",
        kind: ConvKind = "3d",
    ) -> None:
        super().__init__()
        t, h, w = kernel_size
        padding = (t // 2, h // 2, w // 2) if padding is None else padding
        if kind == "2plus1d":
            if groups != 1:
                raise ValueError("a convolution that is split has no groups")
            self.conv = SplitConv3d(in_channels, out_channels, kernel_size, stride=stride, padding=padding)
        else:
            bias = norm is None if bias is None else bias
            self.conv = nn.Conv3d(
                in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias
            )
        self.norm_name = norm_name(norm) if norm else None
        if norm:
            self.add_module(norm_name(norm), make_norm3d(norm, out_channels))
        self.act = _ACTIVATIONS[act](inplace=True) if act else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C', T', H', W')."""
        x = self.conv(x)
        if self.norm_name:
            x = getattr(self, self.norm_name)(x)
        return self.act(x) if self.act else x


def init_clips(module: nn.Module) -> None:
    """Initial weights of every convolution below ``module``: He et al.'s for ReLU over the fan-out."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
