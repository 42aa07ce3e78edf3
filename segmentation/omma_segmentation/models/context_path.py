"""A path from coarse maps back to fine ones, refined by attention: of BiSeNet, and STDC after it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind


class AttentionRefinement(nn.Module):
    """A convolution whose channels are weighed by what they are on average (Yu et al., BiSeNet, 2018).

    Args:
        in_channels: C.
        channels: C'.
        norm: kind of the norms.
    """

    def __init__(self, in_channels: int, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.conv_layer = ConvNormAct(in_channels, channels, 3, padding=1, norm=norm)
        self.atten_conv_layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvNormAct(channels, channels, 1, norm=norm, act=None), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        x = self.conv_layer(x)
        return x * self.atten_conv_layer(x)


def ascend(
    maps: Sequence[Tensor], mean: Tensor, refine: Sequence[nn.Module], smooth: Sequence[nn.Module]
) -> list[Tensor]:
    """Each refined map and what came from below it, at the size of the next finer map.

    Args:
        maps: fine to coarse.
        mean: what the coarsest map is on average, (N, C, 1, 1).
        refine: for all maps but the finest, coarse to fine: a map to C channels.
        smooth: as many; applied after enlarging.

    Returns:
        Maps (N, C, H, W), coarse to fine.
    """
    found: list[Tensor] = []
    below = mean
    finer = reversed(maps[:-1])
    for refinement, smoothing, x, target in zip(refine, smooth, reversed(maps), finer, strict=False):
        summed = refinement(x) + below
        below = smoothing(F.interpolate(summed, size=target.shape[-2:], mode="nearest"))
        found.append(below)
    return found
