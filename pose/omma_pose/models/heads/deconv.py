"""The network of simple baselines, which several heads have (Xiao et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import init_conv


class DeconvNetwork(nn.Module):
    """Transposed convolutions that double the size each, convolutions, and one map for each key point.

    Args:
        in_channels: of the map.
        out_channels: maps that come out.
        deconv_channels: of each transposed convolution; none: the size stays.
        deconv_kernels: their sides, 2, 3 or 4.
        deconv_groups: their groups; none: one each.
        conv_channels: of convolutions behind them.
        conv_kernels: their sides, odd.
        final_kernel: side of the last convolution, odd.

    Raises:
        ValueError: kernels don't fit the channels.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        deconv_channels: Sequence[int] = (256, 256, 256),
        deconv_kernels: Sequence[int] = (4, 4, 4),
        deconv_groups: Sequence[int] = (),
        conv_channels: Sequence[int] = (),
        conv_kernels: Sequence[int] = (),
        final_kernel: int = 1,
    ) -> None:
        super().__init__()
        if len(conv_channels) != len(conv_kernels):
            raise ValueError(
                f"conv_kernels: expected one for each of {len(conv_channels)} layers, got {conv_kernels}"
            )
        if any(kernel % 2 == 0 for kernel in (*conv_kernels, final_kernel)):
            raise ValueError(f"conv_kernels and final_kernel must be odd, got {conv_kernels}, {final_kernel}")
        self.deconv_layers = deconvolutions(in_channels, deconv_channels, deconv_kernels, deconv_groups)
        channels = deconv_channels[-1] if deconv_channels else in_channels
        layers: list[nn.Module] = []
        for width, kernel in zip(conv_channels, conv_kernels):
            layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2))
            layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.conv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(channels, out_channels, final_kernel, padding=final_kernel // 2)
        init_conv(self, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H * 2^steps, W * 2^steps)."""
        return self.final_layer(self.conv_layers(self.deconv_layers(x)))


def deconvolutions(
    in_channels: int, channels: Sequence[int], kernels: Sequence[int], groups: Sequence[int] = ()
) -> nn.Sequential:
    """Transposed convolutions of stride 2, each with batch norm and ReLU; nothing for no ``channels``.

    Raises:
        ValueError: there are not as many kernels or groups as channels, or a kernel has no side of 2, 3 or 4.
    """
    if len(channels) != len(kernels) or not set(kernels) <= {2, 3, 4}:
        raise ValueError(
            f"deconv_kernels: expected 2, 3 or 4 for each of {len(channels)} layers, got {tuple(kernels)}"
        )
    groups = groups or (1,) * len(channels)
    if len(groups) != len(channels):
        raise ValueError(
            f"deconv_groups: expected one for each of {len(channels)} layers, got {tuple(groups)}"
        )
    layers: list[nn.Module] = []
    for width, kernel, group in zip(channels, kernels, groups):
        padding, extra = {4: (1, 0), 3: (1, 1), 2: (0, 0)}[kernel]
        layers.append(nn.ConvTranspose2d(in_channels, width, kernel, 2, padding, extra, group, bias=False))
        layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        in_channels = width
    return nn.Sequential(*layers)
