"""Fast-SCNN (Poudel et al., Fast-SCNN: Fast Semantic Segmentation Network, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.backbones.mobilenet_v2 import InvertedResidual
from omma.layers import ConvNormAct, NormKind, SeparableConv, init_conv, resize
from omma.registry import register
from omma_segmentation.models.heads.pyramid_pooling import PyramidPooling


@register
class FastSCNN(Backbone):
    """Shared convolutions down to stride 8, where detail and a deeper look at context part and join again.

    It returns the detail, the context at stride 32 and what both make together at stride 8.

    Args:
        channels: of the three convolutions that are shared; the last is the width of the detail.
        context_channels: of the three groups of inverted residuals.
        out_channels: of the context and of the joined map.
        grids: cells along each side, of the averages of the context.
        norm: kind of the norms.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, int, int] = (32, 48, 64),
        context_channels: tuple[int, int, int] = (64, 96, 128),
        out_channels: int = 128,
        grids: tuple[int, ...] = (1, 2, 3, 6),
        norm: NormKind = "bn",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.out_channels, self.strides = (channels[-1], out_channels, out_channels), (8, 32, 8)
        self.learning_to_downsample = SharedDescent(channels, norm=norm)
        self.global_feature_extractor = ContextExtractor(
            channels[-1], context_channels, out_channels, grids=grids, norm=norm
        )
        self.feature_fusion = Fusion(channels[-1], out_channels, norm=norm)
        init_conv(self, kind="kaiming")
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> the detail, the context and the joined map."""
        detail = self.learning_to_downsample(x)
        context = self.global_feature_extractor(detail)
        return detail, context, self.feature_fusion(detail, context)


class SharedDescent(nn.Module):
    """A convolution and two separable ones, each of which halves.

    Args:
        channels: of each.
        norm: kind of the norms.
    """

    def __init__(self, channels: tuple[int, int, int], *, norm: NormKind) -> None:
        super().__init__()
        a, b, c = channels
        self.conv = ConvNormAct(3, a, 3, stride=2, padding=1, norm=norm)
        self.dsconv1 = SeparableConv(a, b, 3, stride=2, padding=1, norm=norm, depthwise_act=False)
        self.dsconv2 = SeparableConv(b, c, 3, stride=2, padding=1, norm=norm, depthwise_act=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, channels[-1], H / 8, W / 8)."""
        return self.dsconv2(self.dsconv1(self.conv(x)))


class ContextExtractor(nn.Module):
    """Three groups of inverted residuals, of which the first two halve, and averages over coarse grids.

    Args:
        in_channels: C.
        channels: of each group.
        out_channels: C'.
        grids: cells along each side, of the averages.
        norm: kind of the norms.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int],
        out_channels: int,
        *,
        grids: tuple[int, ...],
        norm: NormKind,
    ) -> None:
        super().__init__()
        self.bottleneck1, self.bottleneck2, self.bottleneck3 = (
            group(before, width, stride=stride, norm=norm)
            for before, width, stride in zip((in_channels, *channels), channels, (2, 2, 1), strict=False)
        )
        last = channels[-1]
        self.ppm = PyramidPooling(
            grids=grids, in_channels=last, channels=last // len(grids), norm=norm, align_corners=False
        )
        joined = last + len(grids) * (last // len(grids))
        self.out = ConvNormAct(joined, out_channels, 3, padding=1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / 4, W / 4)."""
        x = self.bottleneck3(self.bottleneck2(self.bottleneck1(x)))
        return self.out(torch.cat([x, *self.ppm(x)], dim=1))


def group(in_channels: int, channels: int, *, stride: int, norm: NormKind) -> nn.Sequential:
    """Three inverted residuals, of which the first has the stride."""
    inputs = ((in_channels, stride), (channels, 1), (channels, 1))
    return nn.Sequential(
        *(InvertedResidual(c, channels, step, 1, 6, norm, "relu", numbered=True) for c, step in inputs)
    )


class Fusion(nn.Module):
    """The context, enlarged and convolved channel by channel, added to the detail.

    Args:
        detail_channels: of the detail.
        channels: C, of the context and of the sum.
        norm: kind of the norms.
    """

    def __init__(self, detail_channels: int, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.dwconv = ConvNormAct(channels, channels, 3, padding=1, groups=channels, norm=norm)
        self.conv_lower_res = ConvNormAct(channels, channels, 1, norm=norm, act=None)
        self.conv_higher_res = ConvNormAct(detail_channels, channels, 1, norm=norm, act=None)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Detail (N, C'', H, W) and context (N, C, h, w) -> (N, C, H, W)."""
        context = self.conv_lower_res(self.dwconv(resize(context, detail)))
        return (self.conv_higher_res(detail) + context).relu()
