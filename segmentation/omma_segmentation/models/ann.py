"""ANN (Zhu et al., Asymmetric Non-local Neural Networks for Semantic Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind
from omma.layers.conv import Activation
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses
from omma_segmentation.models.heads.map_attention import MapAttention


@register
class ANNHead(FeatureHead):
    """The last map looks at the one before it and then at itself, both averaged over a few grids.

    Args:
        in_channels: of the map before the last one and of the last one.
        in_index: which maps these are.
        channels: width of what is classified.
        inner_channels: of queries, keys and values.
        num_classes: C.
        loss: on the logits.
        grids: cells along each side, of the averages that are looked at.
        norm: kind of the norms.
        dropout: share of channels, of what is classified and of the first attention's result.
        align_corners: how logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, int],
        in_index: tuple[int, int] = (2, 3),
        channels: int,
        inner_channels: int = 256,
        num_classes: int,
        loss: PixelLosses,
        grids: tuple[int, ...] = (1, 3, 6, 8),
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
        low, high = in_channels
        query = ConvNormAct(high, inner_channels, 1, norm=norm)
        self.fusion = AsymmetricBlock(low, high, inner_channels, grids=grids, norm=norm, query=query)
        self.bottleneck = ConvNormAct(high, channels, 3, padding=1, norm=norm)
        self.context = AsymmetricBlock(channels, channels, inner_channels, grids=grids, norm=norm, act="relu")

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        low, high = self.select(maps)
        x = self.bottleneck(self.dropout(self.fusion(high, low)))
        return self.context(x, x)


class AsymmetricBlock(nn.Module):
    """A map beside what it sees in averages of another one.

    Args:
        low: channels of the map that is looked at.
        high: channels of the map that looks, and of the result.
        inner: channels of queries, keys and values.
        grids: cells along each side, of the averages.
        norm: kind of the norms.
        query: makes the queries; null: what makes the keys.
        act: activation of the result, or null for none.
    """

    def __init__(
        self,
        low: int,
        high: int,
        inner: int,
        *,
        grids: tuple[int, ...],
        norm: NormKind,
        query: nn.Module | None = None,
        act: Activation | None = None,
    ) -> None:
        super().__init__()
        key = ConvNormAct(low, inner, 1, norm=norm)
        out = nn.Conv2d(inner, high, 1)
        for parameter in out.parameters():
            nn.init.zeros_(parameter)
        attention = MapAttention(
            key=key,
            query=key if query is None else query,
            value=nn.Conv2d(low, inner, 1),
            out=out,
            pool=GridAverages(grids),
        )
        self.stages = nn.ModuleList([attention])
        self.bottleneck = ConvNormAct(2 * high, high, 1, norm=norm, act=act)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Maps that look (N, high, H, W) and are looked at (N, low, H2, W2) -> (N, high, H, W)."""
        (attention,) = self.stages
        assert isinstance(attention, MapAttention)
        return self.bottleneck(torch.cat([attention.attend(x, seen), x], dim=1))


class GridAverages(nn.Module):
    """The averages of a map over several grids, one after the other.

    Args:
        grids: cells along each side.
    """

    def __init__(self, grids: tuple[int, ...]) -> None:
        super().__init__()
        self.grids = grids

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, cells of all grids)."""
        return torch.cat([F.adaptive_avg_pool2d(x, grid).flatten(2) for grid in self.grids], dim=2)
