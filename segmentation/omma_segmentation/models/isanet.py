"""ISANet (Huang et al., Interlaced Sparse Self-Attention for Semantic Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses
from omma_segmentation.models.heads.map_attention import MapAttention


@register
class ISAHead(FeatureHead):
    """Attention among pixels a tile apart, then among those of a tile: together all see all.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of the attention and of what is classified.
        inner_channels: of queries and keys.
        num_classes: C.
        loss: on the logits.
        tile: height and width of a tile, pixels of the map.
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
        inner_channels: int = 256,
        num_classes: int,
        loss: PixelLosses,
        tile: tuple[int, int] = (8, 8),
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
        self.tile = tile
        self.in_conv = ConvNormAct(in_channels, channels, 3, padding=1, norm=norm)
        self.global_relation = SelfAttention(channels, inner_channels, norm=norm)
        self.local_relation = SelfAttention(channels, inner_channels, norm=norm)
        self.out_conv = ConvNormAct(2 * channels, channels, 1, norm=norm)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        (x,) = self.select(maps)
        x = self.in_conv(x)
        seen = interlaced(x, self.tile, self.global_relation, self.local_relation)
        return self.out_conv(torch.cat([seen, x], dim=1))


class SelfAttention(MapAttention):
    """Attention among the pixels of a map.

    Args:
        channels: C.
        inner: channels of queries and keys.
        norm: kind of the norms.
    """

    def __init__(self, channels: int, inner: int, *, norm: NormKind) -> None:
        def projection() -> nn.Sequential:
            return nn.Sequential(
                ConvNormAct(channels, inner, 1, norm=norm), ConvNormAct(inner, inner, 1, norm=norm)
            )

        super().__init__(key=projection(), query=projection(), value=nn.Conv2d(channels, channels, 1))
        self.output_project = ConvNormAct(channels, channels, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return self.output_project(self.attend(x, x))


def interlaced(
    x: Tensor, tile: tuple[int, int], apart: Callable[[Tensor], Tensor], near: Callable[[Tensor], Tensor]
) -> Tensor:
    """(N, C, H, W) -> the same shape: ``apart`` among pixels tiles apart, then ``near`` within tiles.

    Maps that tiles don't divide are padded with zeros on all sides.

    Args:
        x: the map.
        tile: height and width of a tile, pixels.
        apart: maps (N', C, tiles down, tiles across) to the same shape, one for each place in a tile.
        near: maps (N', C, height, width of a tile) to the same shape, one for each tile.
    """
    n, _, height, width = x.shape
    h, w = tile
    more_h, more_w = -height % h, -width % w
    top, left = more_h // 2, more_w // 2
    tiles = F.pad(x, (left, more_w - left, top, more_h - top))
    tiles = tiles.unflatten(3, (-1, w)).unflatten(2, (-1, h))  # (N, C, tiles down, h, tiles across, w)
    down, across = tiles.shape[2], tiles.shape[4]
    places = apart(tiles.permute(0, 3, 5, 1, 2, 4).flatten(0, 2)).unflatten(0, (n, h, w))
    tiles = near(places.permute(0, 4, 5, 3, 1, 2).flatten(0, 2)).unflatten(0, (n, down, across))
    whole = tiles.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (N, C, padded H, padded W)
    return whole[..., top : top + height, left : left + width]
