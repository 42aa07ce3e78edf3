"""SETR (Zheng et al., Rethinking Semantic Segmentation as Sequence-to-Sequence with Transformers, 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, LayerNorm2d, NormKind
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


def _enlarge(scale: int, align_corners: bool) -> nn.Upsample:
    return nn.Upsample(scale_factor=scale, mode="bilinear", align_corners=align_corners)


@register
class SETRUPHead(FeatureHead):
    """The naive decoder, or progressive upsampling: one normalised map, convolutions and doublings in turn.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of the convolutions.
        num_classes: C.
        loss: on the logits.
        num_convs: convolutions.
        kernel_size: of the convolutions, pixels.
        up_scale: by how much each result is enlarged.
        norm: kind of the norms behind the convolutions.
        dropout: share of channels.
        align_corners: how maps and logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        in_index: int = -1,
        channels: int,
        num_classes: int,
        loss: PixelLosses,
        num_convs: int = 1,
        kernel_size: int = 3,
        up_scale: int = 4,
        norm: NormKind = "sync_bn",
        dropout: float = 0.0,
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
        self.norm = LayerNorm2d(in_channels, eps=1e-6)
        widths = [in_channels, *[channels] * (num_convs - 1)]
        self.up_convs = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(width, channels, kernel_size, padding=kernel_size // 2, norm=norm),
                _enlarge(up_scale, align_corners),
            )
            for width in widths
        )

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to what is classified, (N, channels, s H, s W), s = up_scale ** num_convs."""
        (x,) = self.select(maps)
        x = self.norm(x)
        for up_conv in self.up_convs:
            x = up_conv(x)
        return x


@register
class SETRMLAHead(FeatureHead):
    """Multi-level aggregation: each level convolved twice and enlarged, all of them joined.

    Args:
        in_channels: of the levels.
        in_index: which maps.
        level_channels: width of each level.
        num_classes: C.
        loss: on the logits.
        up_scale: by how much each level is enlarged.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how levels and logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        in_index: tuple[int, ...] = (0, 1, 2, 3),
        level_channels: int = 128,
        num_classes: int,
        loss: PixelLosses,
        up_scale: int = 4,
        norm: NormKind = "sync_bn",
        dropout: float = 0.0,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            channels=level_channels * len(in_channels),
            num_classes=num_classes,
            loss=loss,
            dropout=dropout,
            align_corners=align_corners,
        )
        self.up_convs = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(width, level_channels, 3, padding=1, norm=norm),
                ConvNormAct(level_channels, level_channels, 3, padding=1, norm=norm),
                _enlarge(up_scale, align_corners),
            )
            for width in in_channels
        )

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Levels (N, C_i, H, W) to what is classified, (N, channels, up_scale H, up_scale W)."""
        levels = self.select(maps)
        return torch.cat([conv(x) for conv, x in zip(self.up_convs, levels, strict=True)], dim=1)
