"""Upsampling that predicts its kernels (Wang et al., CARAFE, 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from omma.ops import carafe


class Carafe(nn.Module):
    """Content-aware upsampling: (N, C, H, W) to (N, C, scale * H, scale * W).

    Parameter names are those of OpenMMLab's CARAFEPack.

    Args:
        channels: C.
        scale: output pixels per source pixel and axis.
        kernel_size: of the kernels that put the output together, pixels of the source.
        groups: of channels with kernels of their own.
        encoder_kernel_size: of the convolution that predicts them.
        compressed_channels: that it sees.
    """

    def __init__(
        self,
        channels: int,
        *,
        scale: int = 2,
        kernel_size: int = 5,
        groups: int = 1,
        encoder_kernel_size: int = 3,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__()
        self.scale, self.kernel_size, self.groups = scale, kernel_size, groups
        self.channel_compressor = nn.Conv2d(channels, compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            compressed_channels,
            groups * kernel_size**2 * scale**2,
            encoder_kernel_size,
            padding=encoder_kernel_size // 2,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kernels that are nearly a mean at first."""
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        for layer in (self.channel_compressor, self.content_encoder):
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, scale * H, scale * W)."""
        found = self.content_encoder(self.channel_compressor(x))
        n, _, h, w = found.shape
        taps, scale = self.kernel_size**2, self.scale
        kernels = found.reshape(n, self.groups, taps, scale, scale, h, w).softmax(2)
        # Pixel shuffle; PyTorch's own can't differentiate a batch of none.
        kernels = kernels.permute(0, 1, 2, 5, 3, 6, 4).reshape(n, self.groups * taps, h * scale, w * scale)
        return carafe(x, kernels, kernel_size=self.kernel_size, scale=self.scale)
