"""PSANet (Zhao et al., Point-wise Spatial Attention Network for Scene Parsing, 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, resize
from omma.ops import psa_mask
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class PSAHead(FeatureHead):
    """Each pixel says whom it collects from and whom it gives to, by its place relative to them.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of the attention and of what is classified.
        num_classes: C.
        loss: on the logits.
        mask_size: height and width of what a pixel reaches in the halved map.
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
        mask_size: tuple[int, int] = (97, 97),
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
        self.mask_size = mask_size
        self.reduce = ConvNormAct(in_channels, channels, 1, norm=norm)
        self.attention = self._attention(norm)
        self.reduce_p = ConvNormAct(in_channels, channels, 1, norm=norm)
        self.attention_p = self._attention(norm)
        # The border of one pixel around a 1x1 convolution is the published network's.
        self.proj = ConvNormAct(2 * channels, in_channels, 1, padding=1, norm=norm)
        self.bottleneck = ConvNormAct(2 * in_channels, channels, 3, padding=1, norm=norm)

    def _attention(self, norm: NormKind) -> nn.Sequential:
        reached = self.mask_size[0] * self.mask_size[1]
        return nn.Sequential(
            ConvNormAct(self.channels, self.channels, 1, norm=norm),
            nn.Conv2d(self.channels, reached, 1, bias=False),
        )

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        (x,) = self.select(maps)
        height, width = x.shape[-2:]
        # Odd sizes keep their corner pixels when halved.
        aligned = height % 2 == 1 and width % 2 == 1
        half = ((height + aligned) // 2, (width + aligned) // 2)
        collected = self._spread(resize(self.reduce(x), half, align_corners=aligned), "collect")
        given = self._spread(resize(self.reduce_p(x), half, align_corners=aligned), "distribute")
        seen = self.proj(torch.cat([collected, given], dim=1))
        return self.bottleneck(torch.cat([x, resize(seen, x, align_corners=aligned)], dim=1))

    def _spread(self, x: Tensor, mode: Literal["collect", "distribute"]) -> Tensor:
        """(N, channels, H, W) -> the same shape: for each pixel the mean of others that attention weighs."""
        attention = self.attention if mode == "collect" else self.attention_p
        weights = psa_mask(attention(x), size=self.mask_size, mode=mode).softmax(dim=1)
        return (x.flatten(2) @ weights.flatten(2)).view(x.shape)
