"""DMNet (He et al., Dynamic Multi-Scale Filters for Semantic Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind, make_norm
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class DMHead(FeatureHead):
    """The map beside depthwise convolutions of it, whose kernels are made from the image itself.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of each convolution and of what is classified.
        num_classes: C.
        loss: on the logits.
        kernel_sizes: of the convolutions, pixels.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how logits are resized.

    Raises:
        ValueError: a kernel has an even side.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        in_index: int = -1,
        channels: int,
        num_classes: int,
        loss: PixelLosses,
        kernel_sizes: tuple[int, ...] = (1, 3, 5, 7),
        norm: NormKind = "sync_bn",
        dropout: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            channels=channels,
            num_classes=num_classes,
            loss=loss,
            dropout=dropout,
            align_corners=align_corners,
        )
        if any(size % 2 == 0 for size in kernel_sizes):
            raise ValueError(f"kernel_sizes must be odd, got {kernel_sizes}")
        self.dcm_modules = nn.ModuleList(
            DynamicConv(in_channels, channels, kernel_size=size, norm=norm) for size in kernel_sizes
        )
        entering = in_channels + len(kernel_sizes) * channels
        self.bottleneck = ConvNormAct(entering, channels, 3, padding=1, norm=norm)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        (x,) = self.select(maps)
        return self.bottleneck(torch.cat([x, *(module(x) for module in self.dcm_modules)], dim=1))


class DynamicConv(nn.Module):
    """A depthwise convolution with each image's own kernels, made from its averages over a grid.

    Args:
        in_channels: of the map.
        channels: of the result.
        kernel_size: of the square kernels and cells along each side of the grid, odd.
        norm: kind of the norms.
    """

    def __init__(self, in_channels: int, channels: int, *, kernel_size: int, norm: NormKind) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.filter_gen_conv = nn.Conv2d(in_channels, channels, 1)
        self.input_redu_conv = ConvNormAct(in_channels, channels, 1, norm=norm)
        self.norm = make_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H, W)."""
        kernels = self.filter_gen_conv(F.adaptive_avg_pool2d(x, self.kernel_size))  # (N, C, K, K)
        x = self.input_redu_conv(x)
        # A group for each channel of each image.
        kernels, groups = kernels.flatten(0, 1)[:, None], x.shape[0] * x.shape[1]
        out = F.conv2d(x.flatten(0, 1)[None], kernels, padding=self.kernel_size // 2, groups=groups)
        return self.norm(out.view(x.shape)).relu()
