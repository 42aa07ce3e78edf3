"""APCNet (He et al., Adaptive Pyramid Context Network for Semantic Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class APCHead(FeatureHead):
    """The map beside averages over grids of several sizes, mixed for each pixel by its affinity to each cell.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of each grid's result and of what is classified.
        num_classes: C.
        loss: on the logits.
        grids: cells along each side.
        fusion: a further convolution in each grid's result.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        in_index: int = -1,
        channels: int,
        num_classes: int,
        loss: PixelLosses,
        grids: tuple[int, ...] = (1, 2, 3, 6),
        fusion: bool = True,
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
        self.acm_modules = nn.ModuleList(
            AdaptiveContext(in_channels, channels, grid=grid, fusion=fusion, norm=norm) for grid in grids
        )
        self.bottleneck = ConvNormAct(in_channels + len(grids) * channels, channels, 3, padding=1, norm=norm)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        (x,) = self.select(maps)
        return self.bottleneck(torch.cat([x, *(module(x) for module in self.acm_modules)], dim=1))


class AdaptiveContext(nn.Module):
    """A map and the averages over one grid, weighed for each pixel.

    Args:
        in_channels: of the map.
        channels: of the result.
        grid: cells along each side.
        fusion: a further convolution of the result.
        norm: kind of the norms.
    """

    def __init__(self, in_channels: int, channels: int, *, grid: int, fusion: bool, norm: NormKind) -> None:
        super().__init__()
        self.grid = grid
        self.pooled_redu_conv = ConvNormAct(in_channels, channels, 1, norm=norm)
        self.input_redu_conv = ConvNormAct(in_channels, channels, 1, norm=norm)
        self.global_info = ConvNormAct(channels, channels, 1, norm=norm)
        self.gla = nn.Conv2d(channels, grid**2, 1)
        self.residual_conv = ConvNormAct(channels, channels, 1, norm=norm)
        self.fusion_conv = ConvNormAct(channels, channels, 1, norm=norm) if fusion else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, channels, H, W)."""
        cells = self.pooled_redu_conv(F.adaptive_avg_pool2d(x, self.grid)).flatten(2)  # (N, C, cells)
        x = self.input_redu_conv(x)
        whole = self.global_info(x.mean(dim=(2, 3), keepdim=True))
        affinity = self.gla(x + whole).sigmoid().flatten(2)  # (N, cells, P)
        context = self.residual_conv((cells @ affinity).unflatten(2, x.shape[-2:]))
        return self.fusion_conv((context + x).relu())
