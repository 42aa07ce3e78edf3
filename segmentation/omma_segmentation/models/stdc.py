"""STDC (Fan et al., Rethinking BiSeNet For Real-time Semantic Segmentation, 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormKind, init_conv
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_segmentation.models.context_path import AttentionRefinement, ascend
from omma_segmentation.models.fcn import FCNHead
from omma_segmentation.models.heads.decode_head import PixelLosses


@register
class STDCNet(Backbone):
    """Short-term dense concatenation: each block joins the outputs of its thinner and thinner convolutions.

    Args:
        channels: of the five stages, at strides 2, 4, 8, 16 and 32; the last three are returned.
        blocks: of the last three stages: 2, 2, 2 is STDC1; 4, 5, 3 is STDC2.
        convs: of a block.
        norm: kind of the norms.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, int, int, int, int] = (32, 64, 256, 512, 1024),
        blocks: tuple[int, int, int] = (2, 2, 2),
        convs: int = 4,
        norm: NormKind = "bn",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.out_channels, self.strides = channels[2:], (8, 16, 32)
        stages: list[nn.Module] = [
            ConvNormAct(a, b, 3, stride=2, padding=1, norm=norm) for a, b in ((3, channels[0]), channels[:2])
        ]
        for before, after, count in zip(channels[1:], channels[2:], blocks, strict=False):
            first = STDCBlock(before, after, stride=2, convs=convs, norm=norm)
            rest = (STDCBlock(after, after, stride=1, convs=convs, norm=norm) for _ in range(count - 1))
            stages.append(nn.Sequential(first, *rest))
        self.stages = nn.ModuleList(stages)
        init_conv(self, kind="kaiming")
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> maps at strides 8, 16 and 32."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps[2:])


class STDCBlock(nn.Module):
    """A 1x1 convolution, then 3x3 ones in a row, all joined: (N, C, H, W) to (N, C', H / stride, W / stride).

    Args:
        in_channels: C.
        out_channels: C', to which the first convolution gives a half, the next a quarter and so on.
        stride: 1 or 2.
        convs: all of them.
        norm: kind of the norms.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, convs: int, norm: NormKind
    ) -> None:
        super().__init__()
        half = out_channels // 2
        # The last two are of one width, so that all together have C'.
        widths = [out_channels // 2**i for i in range(1, convs)]
        widths.append(widths[-1])
        self.layers = nn.ModuleList([ConvNormAct(in_channels, half, 1, norm=norm)])
        for before, after in pairwise(widths):
            self.layers.append(ConvNormAct(before, after, 3, padding=1, norm=norm))
        self.stride = stride
        if stride == 2:
            self.downsample = ConvNormAct(
                half, half, 3, stride=2, padding=1, groups=half, norm=norm, act=None
            )
            self.skip = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        first, *rest = self.layers
        x = first(x)
        outputs = [self.skip(x) if self.stride == 2 else x]
        if self.stride == 2:
            x = self.downsample(x)
        for layer in rest:
            x = layer(x)
            outputs.append(x)
        return torch.cat(outputs, dim=1)


@register
class STDCContextPath(Backbone):
    """A backbone whose context, refined, joins its map at stride 8.

    It returns the backbone's map at stride 8, the context at strides 16 and 8, and what joins.

    Args:
        backbone: with maps at strides 8, 16 and 32.
        channels: of the context.
        out_channels: of what joins.
        norm: kind of the norms.

    Raises:
        ValueError: the backbone's maps have other strides.
    """

    def __init__(
        self, *, backbone: Backbone, channels: int = 128, out_channels: int = 256, norm: NormKind = "bn"
    ) -> None:
        super().__init__()
        if tuple(backbone.strides) != (8, 16, 32):
            raise ValueError(
                f"the context path needs maps at strides 8, 16 and 32, got {list(backbone.strides)}"
            )
        fine, *coarse = backbone.out_channels
        self.out_channels, self.strides = (fine, channels, channels, out_channels), (8, 16, 8, 8)
        self.backbone = backbone
        self.arms = nn.ModuleList(AttentionRefinement(c, channels, norm=norm) for c in reversed(coarse))
        self.convs = nn.ModuleList(ConvNormAct(channels, channels, 3, padding=1, norm=norm) for _ in coarse)
        self.conv_avg = ConvNormAct(coarse[-1], channels, 1, norm=norm)
        self.ffm = FeatureJoin(fine + channels, out_channels, norm=norm)
        for part in (self.arms, self.convs, self.conv_avg, self.ffm):
            init_conv(part, kind="kaiming")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> the backbone's map, the context at strides 16 and 8, and what joins."""
        maps = self.backbone(x)
        mean = self.conv_avg(maps[-1].mean(dim=(2, 3), keepdim=True))
        context16, context8 = ascend(maps, mean, list(self.arms), list(self.convs))
        return maps[0], context16, context8, self.ffm(maps[0], context8)


class FeatureJoin(nn.Module):
    """Two maps joined, some of whose channels are strengthened by a small network of their means.

    Args:
        in_channels: C, of both maps together.
        out_channels: C'.
        norm: kind of the norm.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: NormKind) -> None:
        super().__init__()
        hidden = out_channels // 4
        self.conv0 = ConvNormAct(in_channels, out_channels, 1, norm=norm)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            ConvNormAct(out_channels, hidden, 1, bias=False),
            ConvNormAct(hidden, out_channels, 1, bias=False, act=None),
            nn.Sigmoid(),
        )

    def forward(self, fine: Tensor, context: Tensor) -> Tensor:
        """Two maps of one size -> (N, C', H, W)."""
        x = self.conv0(torch.cat([fine, context], dim=1))
        return x + x * self.attention(x)


@register
class STDCHead(FCNHead):
    """Learns where the detail of the labels is, as two classes: without and with.

    Detail is where a Laplacian of the labels at three strides is large.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of the convolutions.
        loss: on the logits of the two classes.
        threshold: of what counts as detail.
        num_convs: convolutions.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how logits are resized.
    """

    laplacian_kernel: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        in_index: int = 0,
        channels: int,
        loss: PixelLosses,
        threshold: float = 0.1,
        num_convs: int = 1,
        norm: NormKind = "bn",
        dropout: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            channels=channels,
            num_classes=2,
            loss=loss,
            num_convs=num_convs,
            concat_input=False,
            norm=norm,
            dropout=dropout,
            align_corners=align_corners,
        )
        self.threshold = threshold
        kernel = torch.full((1, 1, 3, 3), -1.0)
        kernel[..., 1, 1] = 8
        self.register_buffer("laplacian_kernel", kernel)
        # Behind a threshold, no gradient reaches the weights of the three strides: they stay what they are.
        self.fusion_kernel = nn.Parameter(torch.tensor([0.6, 0.3, 0.1]).view(1, 3, 1, 1), requires_grad=False)

    def loss(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The losses of the raw output and the detail of the labels (N, H, W)."""
        return self.pixel_losses(outputs, self.detail(labels))

    def detail(self, labels: Tensor) -> Tensor:
        """Where labels (N, H, W) have detail: ones and zeros of their shape."""
        values = labels[:, None].to(self.laplacian_kernel.dtype)
        strides = []
        for stride in (1, 2, 4):
            edges = F.conv2d(values, self.laplacian_kernel, stride=stride, padding=1)
            strides.append(F.interpolate(edges, size=labels.shape[-2:], mode="nearest"))
        found = (torch.cat(strides, dim=1) > self.threshold).to(values.dtype)
        return (F.conv2d(found, self.fusion_kernel)[:, 0] > self.threshold).long()

    def class_rows(self) -> Mapping[str, ClassRows]:
        """None: its classes aren't those of the data."""
        return {}
