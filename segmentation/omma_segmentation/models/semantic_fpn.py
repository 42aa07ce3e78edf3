"""The semantic branch of Panoptic FPN (Kirillov et al., Panoptic Feature Pyramid Networks, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, resize
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class FPNHead(FeatureHead):
    """Levels of a pyramid, each brought to the finest one's size by convolutions and doublings, and summed.

    Args:
        in_channels: of the levels, fine to coarse.
        in_index: which maps.
        strides: input pixels per pixel of each level: powers of two times the first one.
        channels: width of every level.
        num_classes: C.
        loss: on the logits.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how levels and logits are resized.

    Raises:
        ValueError: there is not one stride for each level, or one is no power of two times the first.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        in_index: tuple[int, ...] = (0, 1, 2, 3),
        strides: tuple[int, ...] = (4, 8, 16, 32),
        channels: int,
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
        if len(strides) != len(in_channels):
            raise ValueError(f"expected one stride per level, got {strides} for {len(in_channels)}")
        doublings = [(stride // strides[0]).bit_length() - 1 for stride in strides]
        if any(strides[0] * 2**count != s for count, s in zip(doublings, strides)):
            raise ValueError(f"strides must be powers of two times the first one, got {strides}")
        self.scale_heads = nn.ModuleList()
        for entering, count in zip(in_channels, doublings):
            layers: list[nn.Module] = []
            for i in range(max(count, 1)):
                width = entering if i == 0 else channels
                layers.append(ConvNormAct(width, channels, 3, padding=1, norm=norm))
                if count:
                    layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=align_corners))
            self.scale_heads.append(nn.Sequential(*layers))

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Levels (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W) of the finest one's size."""
        first, *rest = (head(x) for head, x in zip(self.scale_heads, self.select(maps), strict=True))
        for level in rest:
            first = first + resize(level, first, align_corners=self.align_corners)
        return first
