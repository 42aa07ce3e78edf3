"""OCRNet (Yuan et al., Object-Contextual Representations for Semantic Segmentation, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, init_conv
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_segmentation.models.heads.decode_head import PixelLosses, RefineHead
from omma_segmentation.models.heads.map_attention import MapAttention


@register
class OCRHead(RefineHead):
    """Each pixel attends to what the classes look like in this image, as coarse logits know it.

    Args:
        in_channels: of the maps; several are resized to the first and joined.
        in_index: which maps.
        channels: width of what is classified.
        attention_channels: of queries, keys and values.
        num_classes: C.
        loss: on the logits.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how maps and logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: int | tuple[int, ...],
        in_index: int | tuple[int, ...] = -1,
        channels: int = 512,
        attention_channels: int = 256,
        num_classes: int,
        loss: PixelLosses,
        norm: NormKind = "sync_bn",
        dropout: float = 0.0,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            num_classes=num_classes,
            loss=loss,
            align_corners=align_corners,
        )
        self.object_context_block = ObjectAttention(channels, attention_channels, norm=norm)
        self.bottleneck = ConvNormAct(sum(self.in_channels), channels, 3, padding=1, norm=norm)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        init_conv(self.conv_seg, std=0.01)

    def forward(self, maps: Sequence[Tensor], coarse: Tensor) -> Tensor:
        """Maps, and logits (N, C, H, W) of the first one's size, to logits of that size."""
        features = self.bottleneck(self.joined(maps))
        # Each class is the mean of the pixels, weighed by how sure they are of it against each other.
        share = coarse.flatten(2).softmax(dim=2)
        classes = share @ features.flatten(2).transpose(1, 2)  # (N, C, channels)
        seen = self.object_context_block(features, classes.transpose(1, 2)[..., None])
        return self.conv_seg(self.dropout(seen))

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Parameters whose rows belong to classes, by name."""
        return {"conv_seg.weight": ClassRows(), "conv_seg.bias": ClassRows()}


class ObjectAttention(MapAttention):
    """Attention of pixels to classes, joined with the pixels.

    Args:
        channels: C of both.
        attention_channels: of queries, keys and values.
        norm: kind of the norms.
    """

    def __init__(self, channels: int, attention_channels: int, *, norm: NormKind) -> None:
        def project() -> nn.Sequential:
            first = ConvNormAct(channels, attention_channels, 1, norm=norm)
            return nn.Sequential(first, ConvNormAct(attention_channels, attention_channels, 1, norm=norm))

        super().__init__(
            key=project(),
            query=project(),
            value=ConvNormAct(channels, attention_channels, 1, norm=norm),
            out=ConvNormAct(attention_channels, channels, 1, norm=norm),
        )
        self.bottleneck = ConvNormAct(2 * channels, channels, 1, norm=norm)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        """Pixels (N, C, H, W) and classes (N, C, K, 1) -> pixels (N, C, H, W)."""
        return self.bottleneck(torch.cat([self.attend(x, classes), x], dim=1))
