"""ICNet (Zhao et al., ICNet for Real-Time Semantic Segmentation on High-Resolution Images, 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone, ResNet
from omma.layers import ConvNormAct, NormKind, init_conv, resize
from omma.necks import Neck
from omma.registry import register
from omma_segmentation.models.heads.pyramid_pooling import PyramidPooling


@register
class ICNet(Backbone):
    """The image under three convolutions, at half its size under half a ResNet, at a quarter under the rest.

    It returns the maps of the three, at strides 8, 16 and 32.

    Args:
        backbone: with a deep stem, whose last two stages are dilated in place of striding.
        light_channels: of the first two convolutions of the branch that sees the image at its full size.
        pooled_channels: of the averages of the coarsest map, and of their joint.
        out_channels: of the maps, fine to coarse.
        grids: cells along each side, of the averages.
        norm: kind of the norms.

    Raises:
        ValueError: the backbone's stem is not deep or its maps have other strides.
    """

    def __init__(
        self,
        *,
        backbone: ResNet,
        light_channels: int = 32,
        pooled_channels: int = 512,
        out_channels: tuple[int, int, int] = (64, 256, 256),
        grids: tuple[int, ...] = (1, 2, 3, 6),
        norm: NormKind = "sync_bn",
    ) -> None:
        super().__init__()
        if "stem" not in backbone.stem_parts:
            raise ValueError("the branches need a backbone with a deep stem, got one without")
        if tuple(backbone.strides) != (4, 8, 8, 8):
            raise ValueError(f"the branches need maps at strides 4, 8, 8 and 8, got {list(backbone.strides)}")
        fine, middle, coarse = out_channels
        self.out_channels, self.strides = out_channels, (8, 16, 32)
        self.backbone = backbone
        # Rounds up where the pooling of ResNet rounds down, so that the last row and column count.
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        last = backbone.out_channels[-1]
        self.psp_modules = PyramidPooling(
            grids=grids, in_channels=last, channels=pooled_channels, norm=norm, align_corners=False
        )
        joined = last + len(grids) * pooled_channels
        self.psp_bottleneck = ConvNormAct(joined, pooled_channels, 3, padding=1, norm=norm)
        self.conv_sub1 = nn.Sequential(
            ConvNormAct(3, light_channels, 3, stride=2, padding=1, norm=norm),
            ConvNormAct(light_channels, light_channels, 3, stride=2, padding=1, norm=norm),
            ConvNormAct(light_channels, fine, 3, stride=2, padding=1, norm=norm),
        )
        self.conv_sub2 = ConvNormAct(backbone.out_channels[1], middle, 1, norm=norm)
        self.conv_sub4 = ConvNormAct(pooled_channels, coarse, 1, norm=norm)
        for part in (self.psp_modules, self.psp_bottleneck, self.conv_sub1, self.conv_sub2, self.conv_sub4):
            init_conv(part, kind="kaiming")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> maps at strides 8, 16 and 32."""
        layer1, layer2, layer3, layer4 = (self.backbone.get_submodule(f"layer{i}") for i in range(1, 5))
        fine = self.conv_sub1(x)
        x = layer2(layer1(self.pool(self.backbone.stem(halved(x)))))
        middle = self.conv_sub2(x)
        x = layer4(layer3(halved(x)))
        x = self.psp_bottleneck(torch.cat([*self.psp_modules(x), x], dim=1))
        return fine, middle, self.conv_sub4(x)


def halved(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H / 2, W / 2), rounded down: of an odd side the last pixel is left out."""
    return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)


@register
class ICNeck(Neck):
    """Fuses the three maps, coarse to fine.

    It returns what the coarse map adds at stride 16, what both add at stride 8, for losses, and the sum.

    Args:
        in_channels: of the maps, fine to coarse.
        out_channels: C, of each result.
        norm: kind of the norms.
    """

    def __init__(
        self, *, in_channels: tuple[int, int, int], out_channels: int = 128, norm: NormKind = "sync_bn"
    ) -> None:
        super().__init__()
        fine, middle, coarse = in_channels
        self.in_channels, self.out_channels = in_channels, (out_channels,) * 3
        self.cff_24 = CascadeFusion(coarse, middle, out_channels, norm=norm)
        self.cff_12 = CascadeFusion(out_channels, fine, out_channels, norm=norm)

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the maps that the coarser ones are added to."""
        fine, middle, _ = strides
        return middle, fine, fine

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps at strides 8, 16 and 32 -> three maps (N, C, h, w), at strides 16, 8 and 8."""
        fine, middle, coarse = maps
        fused, added16 = self.cff_24(coarse, middle)
        fused, added8 = self.cff_12(fused, fine)
        return added16, added8, fused


class CascadeFusion(nn.Module):
    """A coarse map, enlarged and convolved, added to a fine one.

    Args:
        coarse: channels of the coarse map.
        fine: channels of the fine map.
        channels: C.
        norm: kind of the norms.
    """

    def __init__(self, coarse: int, fine: int, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.conv_low = ConvNormAct(coarse, channels, 3, padding=2, dilation=2, norm=norm)
        self.conv_high = ConvNormAct(fine, channels, 1, norm=norm)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """A coarse map and one of the wanted size -> the sum and what the coarse one adds, (N, C, H, W)."""
        added = self.conv_low(resize(coarse, fine))
        return added + self.conv_high(fine), added
