"""U-Net (Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormKind, init_conv, resize
from omma.registry import register


@register
class UNet(Backbone):
    """Halves the image stage by stage, then comes back, joining at each size what went down.

    It returns the coarsest map and what each step back made of it, coarse to fine.

    Args:
        channels: of the finest stage; each coarser one has twice as many.
        stages: of the way down.
        norm: kind of the norms.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: fewer than two stages.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self, *, channels: int = 64, stages: int = 5, norm: NormKind = "sync_bn", weights: str | None = None
    ) -> None:
        super().__init__()
        if stages < 2:
            raise ValueError(f"a U-Net needs at least two stages, got {stages}")
        widths = [channels * 2**i for i in range(stages)]
        self.out_channels = tuple(reversed(widths))
        self.strides = tuple(2**i for i in reversed(range(stages)))
        first = nn.Sequential(ConvPair(3, channels, norm=norm))
        deeper = (nn.Sequential(nn.MaxPool2d(2), ConvPair(a, b, norm=norm)) for a, b in pairwise(widths))
        self.encoder = nn.ModuleList([first, *deeper])
        self.decoder = nn.ModuleList(UpBlock(coarse, fine, norm=norm) for fine, coarse in pairwise(widths))
        init_conv(self, kind="kaiming")
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per stage, coarse to fine."""
        *skips, x = self._down(x)
        maps = [x]
        for up, skip in zip(reversed(list(self.decoder)), reversed(skips), strict=True):
            x = up(skip, x)
            maps.append(x)
        return tuple(maps)

    def _down(self, x: Tensor) -> list[Tensor]:
        """The encoder's maps, fine to coarse."""
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        return maps


class ConvPair(nn.Module):
    """Two 3x3 convolutions.

    Args:
        in_channels: C.
        channels: C'.
        norm: kind of the norms.
    """

    def __init__(self, in_channels: int, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvNormAct(in_channels, channels, 3, padding=1, norm=norm),
            ConvNormAct(channels, channels, 3, padding=1, norm=norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        return self.convs(x)


class UpBlock(nn.Module):
    """Brings a coarse map to the size of a fine one and convolves both together.

    Args:
        coarse: channels of the coarse map.
        fine: C, channels of the fine map.
        norm: kind of the norms.
    """

    def __init__(self, coarse: int, fine: int, *, norm: NormKind) -> None:
        super().__init__()
        self.conv_block = ConvPair(2 * fine, fine, norm=norm)
        self.upsample = Enlarge(coarse, fine, norm=norm)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """The fine map (N, C, H, W) and the coarse one -> (N, C, H, W)."""
        return self.conv_block(torch.cat([skip, self.upsample(x, skip)], dim=1))


class Enlarge(nn.Module):
    """Interpolates, then convolves.

    Args:
        in_channels: C.
        channels: C'.
        norm: kind of the norm.
    """

    def __init__(self, in_channels: int, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        # The empty place is that of the interpolation in the published checkpoints.
        self.interp_upsample = nn.Sequential(nn.Identity(), ConvNormAct(in_channels, channels, 1, norm=norm))

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', H, W), the size of ``target``."""
        return self.interp_upsample(resize(x, target))
