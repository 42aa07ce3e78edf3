"""SegFormer (Xie et al., Simple and Efficient Design for Semantic Segmentation with Transformers, 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class SegformerHead(FeatureHead):
    """Every map brought to one width and the first one's size, all of them mixed position by position.

    Args:
        in_channels: of the maps, fine to coarse.
        in_index: which maps.
        channels: width of each of them and of what is classified.
        num_classes: C.
        loss: on the logits.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how maps and logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        in_index: tuple[int, ...] = (0, 1, 2, 3),
        channels: int = 256,
        num_classes: int,
        loss: PixelLosses,
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
        self.convs = nn.ModuleList(ConvNormAct(width, channels, 1, norm=norm) for width in in_channels)
        self.fusion_conv = ConvNormAct(len(in_channels) * channels, channels, 1, norm=norm)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W) of the first one's size."""
        same = [conv(x) for conv, x in zip(self.convs, self.select(maps), strict=True)]
        return self.fusion_conv(self.concatenate(same))
