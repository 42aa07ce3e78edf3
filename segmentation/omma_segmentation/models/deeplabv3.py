"""DeepLabV3 (Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from omma.layers import NormKind
from omma.registry import register
from omma_segmentation.models.heads.atrous_pyramid import AtrousPyramidHead
from omma_segmentation.models.heads.decode_head import PixelLosses


@register
class ASPPHead(AtrousPyramidHead):
    """Atrous spatial pyramid pooling of the last map.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of each branch and of what is classified.
        num_classes: C.
        loss: on the logits.
        dilations: of the branches; 1: a 1x1 convolution, others 3x3.
        projection: a 1x1 convolution joins the branches before the 3x3 one, as in torchvision.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how the average and logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        in_index: int = -1,
        channels: int,
        num_classes: int,
        loss: PixelLosses,
        dilations: tuple[int, ...] = (1, 12, 24, 36),
        projection: bool = False,
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
            dilations=dilations,
            separable=False,
            projection=projection,
            norm=norm,
            dropout=dropout,
            align_corners=align_corners,
        )

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        (x,) = self.select(maps)
        return self.pyramid(x)
