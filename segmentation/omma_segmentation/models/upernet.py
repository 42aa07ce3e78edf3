"""UPerNet (Xiao et al., Unified Perceptual Parsing for Scene Understanding, 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, resize
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses
from omma_segmentation.models.heads.pyramid_pooling import PyramidPooling


@register
class UPerHead(FeatureHead):
    """Pyramid pooling of the coarsest map, a top-down path over all, and all levels joined.

    Args:
        in_channels: of the maps, fine to coarse.
        in_index: which maps.
        channels: width of every level and of what is classified.
        num_classes: C.
        loss: on the logits.
        grids: cells along each side, of the averages.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how maps and logits are resized.
        sub_pixels: logits of s x s places for each position of the finest map.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        in_index: tuple[int, ...] = (0, 1, 2, 3),
        channels: int,
        num_classes: int,
        loss: PixelLosses,
        grids: tuple[int, ...] = (1, 2, 3, 6),
        norm: NormKind = "sync_bn",
        dropout: float = 0.1,
        align_corners: bool = False,
        sub_pixels: int = 1,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            channels=channels,
            num_classes=num_classes,
            loss=loss,
            dropout=dropout,
            align_corners=align_corners,
            sub_pixels=sub_pixels,
        )
        *finer, coarsest = in_channels
        self.psp_modules = PyramidPooling(
            grids=grids, in_channels=coarsest, channels=channels, norm=norm, align_corners=align_corners
        )
        self.bottleneck = ConvNormAct(coarsest + len(grids) * channels, channels, 3, padding=1, norm=norm)
        self.lateral_convs = nn.ModuleList(ConvNormAct(c, channels, 1, norm=norm) for c in finer)
        self.fpn_convs = nn.ModuleList(
            ConvNormAct(channels, channels, 3, padding=1, norm=norm) for _ in finer
        )
        self.fpn_bottleneck = ConvNormAct(len(in_channels) * channels, channels, 3, padding=1, norm=norm)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W) of the finest one's size."""
        *finer, coarsest = self.select(maps)
        level = self.bottleneck(torch.cat([coarsest, *self.psp_modules(coarsest)], dim=1))
        levels = [level]
        for x, lateral, conv in reversed(list(zip(finer, self.lateral_convs, self.fpn_convs, strict=True))):
            level = lateral(x) + resize(level, x, align_corners=self.align_corners)
            levels.insert(0, conv(level))
        return self.fpn_bottleneck(self.concatenate(levels))
