"""BiSeNet (Yu et al., BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormKind, init_conv
from omma.registry import register
from omma_segmentation.models.context_path import AttentionRefinement, ascend


@register
class BiSeNetV1(Backbone):
    """A shallow path that keeps detail beside a deep one that sees context, fused at stride 8.

    It returns the fused map and the context at strides 8 and 16.

    Args:
        backbone: of the context path, with maps at strides 4, 8, 16 and 32.
        channels: of the context.
        spatial_channels: of the four convolutions of the spatial path.
        out_channels: of the fused map.
        norm: kind of the norms.

    Raises:
        ValueError: the backbone's maps have other strides.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        channels: int = 128,
        spatial_channels: tuple[int, int, int, int] = (64, 64, 64, 128),
        out_channels: int = 256,
        norm: NormKind = "sync_bn",
    ) -> None:
        super().__init__()
        if tuple(backbone.strides) != (4, 8, 16, 32):
            raise ValueError(
                f"the context path needs maps at strides 4, 8, 16 and 32, got {list(backbone.strides)}"
            )
        self.out_channels, self.strides = (out_channels, channels, channels), (8, 8, 16)
        self.context_path = ContextPath(backbone, channels, norm=norm)
        self.spatial_path = SpatialPath(spatial_channels, norm=norm)
        self.ffm = FeatureFusion(spatial_channels[-1] + channels, out_channels, norm=norm)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> the fused map, and the context at strides 8 and 16."""
        context16, context8 = self.context_path(x)
        return self.ffm(self.spatial_path(x), context8), context8, context16


class ContextPath(nn.Module):
    """A backbone's maps at strides 16 and 32, refined, and its mean, brought back to stride 8.

    Args:
        backbone: with maps at strides 4, 8, 16 and 32.
        channels: C.
        norm: kind of the norms.
    """

    def __init__(self, backbone: Backbone, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.backbone = backbone
        self.arm16, self.arm32 = (
            AttentionRefinement(c, channels, norm=norm) for c in backbone.out_channels[2:]
        )
        self.conv_head32, self.conv_head16 = (
            ConvNormAct(channels, channels, 3, padding=1, norm=norm) for _ in range(2)
        )
        self.gap_conv = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvNormAct(backbone.out_channels[-1], channels, 1, norm=norm)
        )
        for part in (self.arm16, self.arm32, self.conv_head32, self.conv_head16, self.gap_conv):
            init_conv(part, kind="kaiming")

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> maps (N, C, h, w) at strides 16 and 8."""
        maps = self.backbone(x)
        heads = (self.conv_head32, self.conv_head16)
        return ascend(maps[1:], self.gap_conv(maps[-1]), (self.arm32, self.arm16), heads)


class SpatialPath(nn.Module):
    """Three convolutions that halve, and one that doesn't.

    Args:
        channels: of each.
        norm: kind of the norms.
    """

    def __init__(self, channels: tuple[int, int, int, int], *, norm: NormKind) -> None:
        super().__init__()
        a, b, c, d = channels
        self.layer1 = ConvNormAct(3, a, 7, stride=2, padding=3, norm=norm)
        self.layer2 = ConvNormAct(a, b, 3, stride=2, padding=1, norm=norm)
        self.layer3 = ConvNormAct(b, c, 3, stride=2, padding=1, norm=norm)
        self.layer4 = ConvNormAct(c, d, 1, norm=norm)
        init_conv(self, kind="kaiming")

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, channels[-1], H / 8, W / 8)."""
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class FeatureFusion(nn.Module):
    """Two maps joined, some of whose channels are strengthened by what they are on average.

    Args:
        in_channels: C, of both maps together.
        out_channels: C'.
        norm: kind of the norms.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels, 1, norm=norm)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.conv_atten = nn.Sequential(ConvNormAct(out_channels, out_channels, 1, norm=norm), nn.Sigmoid())
        init_conv(self, kind="kaiming")

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        """Two maps of one size -> (N, C', H, W)."""
        x = self.conv1(torch.cat([spatial, context], dim=1))
        return x + x * self.conv_atten(self.gap(x))
