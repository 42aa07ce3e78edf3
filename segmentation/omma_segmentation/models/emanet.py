"""EMANet (Li et al., Expectation-Maximization Attention Networks for Semantic Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind
from omma.ops.precision import at_least_float32
from omma.parallel import mean
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class EMAHead(FeatureHead):
    """The map rebuilt from a few bases, which are fitted to each image.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of what is classified.
        inner_channels: of the bases.
        num_classes: C.
        loss: on the logits.
        bases: how many.
        steps: of the fit.
        momentum: weight of each batch's bases in those that the fit starts from.
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
        inner_channels: int = 512,
        num_classes: int,
        loss: PixelLosses,
        bases: int = 64,
        steps: int = 3,
        momentum: float = 0.1,
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
        self.ema_module = BasisAttention(inner_channels, bases=bases, steps=steps, momentum=momentum)
        self.ema_in_conv = ConvNormAct(in_channels, inner_channels, 3, padding=1, norm=norm)
        # Brings both signs into the map; its random weights stay, as published.
        self.ema_mid_conv = ConvNormAct(inner_channels, inner_channels, 1, act=None).requires_grad_(False)
        self.ema_out_conv = ConvNormAct(inner_channels, inner_channels, 1, norm=norm, act=None)
        self.bottleneck = ConvNormAct(inner_channels, channels, 3, padding=1, norm=norm)
        self.conv_cat = ConvNormAct(in_channels + channels, channels, 3, padding=1, norm=norm)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        (x,) = self.select(maps)
        inner = self.ema_in_conv(x)
        rebuilt = self.ema_module(self.ema_mid_conv(inner)).relu()
        out = self.bottleneck((inner + self.ema_out_conv(rebuilt)).relu())
        return self.conv_cat(torch.cat([x, out], dim=1))


class BasisAttention(nn.Module):
    """Rebuilds a map as mixtures of bases, by a few steps of expectation maximisation without gradient.

    Args:
        channels: C.
        bases: K.
        steps: of the fit.
        momentum: weight of each batch's bases in those that the fit starts from.
    """

    bases: Tensor

    def __init__(self, channels: int, *, bases: int, steps: int, momentum: float) -> None:
        super().__init__()
        self.steps, self.momentum = steps, momentum
        start = torch.randn(1, channels, bases) * (2 / bases) ** 0.5
        self.register_buffer("bases", F.normalize(start, dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        with torch.autocast(x.device.type, enabled=False):
            pixels = at_least_float32(x).flatten(2)  # (N, C, P)
            bases, share = self._fit(pixels.detach())
            if self.training:
                self._follow(bases)
            return (bases @ share.transpose(1, 2)).view(x.shape).to(x.dtype)

    def _fit(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Bases (N, C, K) of unit length, and the share (N, P, K) of each in every pixel."""
        bases = self.bases.expand(len(pixels), -1, -1)
        share = pixels.new_zeros(())
        for _ in range(self.steps):
            share = (pixels.transpose(1, 2) @ bases).softmax(dim=2)
            bases = F.normalize(pixels @ F.normalize(share, p=1, dim=1), dim=1)
        return bases, share

    @torch.no_grad()
    def _follow(self, bases: Tensor) -> None:
        found = F.normalize(mean(bases.mean(dim=0, keepdim=True)), dim=1)
        self.bases.lerp_(found.to(self.bases.dtype), self.momentum)
