"""The recursive feature pyramid of DetectoRS (Qiao et al., DetectoRS, 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.backbones import DetectoRSResNet
from omma.layers import init_conv
from omma.necks import FPN
from omma.registry import register


@register
class RFP(FPN):
    """A feature pyramid whose levels are fed into a further backbone, which looks at the image again.

    Takes the image as the first map, as ``DetectoRSResNet(output_image=True)`` gives it. Each further
    backbone's pyramid is made with the same convolutions and mixed with the one before.

    Args:
        in_channels: 3, of the image, then channels of the backbone's maps, fine to coarse.
        out_channels: channels of every level.
        num_outs: number of levels; extra ones are the last one subsampled.
        backbones: the further ones, in order.
        aspp_channels: of each of the four branches that make of a level what is fed.
        aspp_dilations: of the first three branches, 1 for a 1x1 convolution; the last sees the level's mean.

    Raises:
        ValueError: a backbone gives other maps than ``in_channels`` or takes others than the branches make.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...] = (3, 256, 512, 1024, 2048),
        out_channels: int = 256,
        num_outs: int = 5,
        backbones: tuple[DetectoRSResNet, ...],
        aspp_channels: int = 64,
        aspp_dilations: tuple[int, int, int] = (1, 3, 6),
    ) -> None:
        super().__init__(in_channels=in_channels, out_channels=out_channels, num_outs=num_outs, start_level=1)
        for i, backbone in enumerate(backbones):
            if backbone.rfp_channels != 4 * aspp_channels:
                fed = f"4 * {aspp_channels}, got {backbone.rfp_channels}"
                raise ValueError(f"backbones[{i}].rfp_channels must be 4 * aspp_channels, {fed}")
            if tuple(backbone.out_channels) != tuple(in_channels[1:]):
                given, expected = tuple(backbone.out_channels), tuple(in_channels[1:])
                raise ValueError(f"backbones[{i}].out_channels is {given}, in_channels has {expected}")
        # Names as in OpenMMLab's checkpoints.
        self.rfp_modules = nn.ModuleList(backbones)
        self.rfp_aspp = ASPP(out_channels, aspp_channels, aspp_dilations)
        self.rfp_weight = nn.Conv2d(out_channels, 1, 1)
        for parameter in self.rfp_weight.parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The image (N, 3, H, W) and maps (N, in_channels[i], H_i, W_i) -> ``num_outs`` levels."""
        levels = super().forward(maps)
        for backbone in self.rfp_modules:
            seen = backbone(maps[0], [self.rfp_aspp(level) for level in levels[1:4]])
            again = super().forward((maps[0], *seen))
            levels = tuple(self._mixed(new, old) for new, old in zip(again, levels))
        return levels

    def _mixed(self, new: Tensor, old: Tensor) -> Tensor:
        share = self.rfp_weight(new).sigmoid()
        return share * new + (1 - share) * old


class ASPP(nn.Module):
    """Convolutions of several dilations side by side, and one of the mean (Chen et al., DeepLabv3, 2017).

    Args:
        in_channels: C.
        channels: C', of each branch.
        dilations: of the branches before the last; 1 for a 1x1 convolution.
    """

    def __init__(self, in_channels: int, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        sizes = [(3, d) if d > 1 else (1, 0) for d in (*dilations, 1)]
        self.aspp = nn.ModuleList(
            nn.Conv2d(in_channels, channels, size, padding=pad, dilation=max(pad, 1)) for size, pad in sizes
        )
        init_conv(self, kind="kaiming")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, branches * C', H, W)."""
        *around, whole = self.aspp
        mean = whole(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        return torch.cat([*(conv(x) for conv in around), mean], dim=1).relu()
