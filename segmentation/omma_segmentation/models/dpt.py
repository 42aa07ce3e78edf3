"""DPT (Ranftl et al., Vision Transformers for Dense Prediction, 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind, make_norm, resize
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class DPTHead(FeatureHead):
    """Tokens of four blocks reassembled to maps at 4, 2, 1 and 1/2 times their size, fused coarse to fine.

    It takes a ``VisionTransformer`` with ``return_class_token: true``: its class tokens lie behind the maps,
    in their order.

    Args:
        in_channels: of the maps.
        in_index: which maps.
        level_channels: width of each map once it is reassembled.
        channels: width of what is fused and classified.
        num_classes: C.
        loss: on the logits.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, int, int, int],
        in_index: tuple[int, int, int, int] = (0, 1, 2, 3),
        level_channels: tuple[int, int, int, int] = (96, 192, 384, 768),
        channels: int = 256,
        num_classes: int,
        loss: PixelLosses,
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
        self.reassemble_blocks = Reassemble(in_channels, level_channels)
        self.convs = nn.ModuleList(
            ConvNormAct(width, channels, 3, padding=1, bias=False, act=None) for width in level_channels
        )
        self.fusion_blocks = nn.ModuleList(Fusion(channels, norm, joins=i > 0) for i in range(4))
        self.project = ConvNormAct(channels, channels, 3, padding=1, norm=norm)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H, W) and tokens (N, C_i) to what is classified, (N, channels, 8 H, 8 W)."""
        count = len(maps) // 2
        tokens = [maps[count + i] for i in self.in_index]
        levels = self.reassemble_blocks(self.select(maps), tokens)
        *finer, coarsest = [conv(x) for conv, x in zip(self.convs, levels, strict=True)]
        first, *others = self.fusion_blocks
        x = first(coarsest)
        for fusion, level in zip(others, reversed(finer), strict=True):
            x = fusion(x, level)
        return self.project(x)


class Reassemble(nn.Module):
    """Each position learns of the class token; then a width and a size of its own for each map.

    Args:
        in_channels: of the four maps.
        out_channels: of what becomes of them.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: Sequence[int]) -> None:
        super().__init__()
        first, second, _, last = out_channels
        self.projects = nn.ModuleList(
            ConvNormAct(a, b, 1, act=None) for a, b in zip(in_channels, out_channels, strict=True)
        )
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, stride=4),
                nn.ConvTranspose2d(second, second, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(last, last, 3, stride=2, padding=1),
            ]
        )
        self.readout_projects = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), nn.GELU()) for width in in_channels
        )

    def forward(self, maps: Sequence[Tensor], tokens: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, C_i, H, W) and tokens (N, C_i) -> sizes 4 H, 2 H, H and ceil(H / 2)."""
        levels = []
        parts = zip(maps, tokens, self.readout_projects, self.projects, self.resize_layers, strict=True)
        for x, token, readout, project, rescale in parts:
            joined = torch.cat([x, token[..., None, None].expand_as(x)], dim=1)
            x = readout(joined.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            levels.append(rescale(project(x)))
        return levels


class Fusion(nn.Module):
    """What came so far plus a finer level, refined and doubled in size.

    Args:
        channels: C.
        norm: kind of the norms.
        joins: whether there is a finer level; the first one has none.
    """

    def __init__(self, channels: int, norm: NormKind, *, joins: bool) -> None:
        super().__init__()
        self.project = ConvNormAct(channels, channels, 1, act=None)
        self.res_conv_unit1 = ResidualUnit(channels, norm) if joins else None
        self.res_conv_unit2 = ResidualUnit(channels, norm)

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        """(N, C, H, W) and a level of about that size -> (N, C, 2 H, 2 W)."""
        if level is not None and self.res_conv_unit1 is not None:
            x = x + self.res_conv_unit1(resize(level, x))
        x = self.res_conv_unit2(x)
        return self.project(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))


class ResidualUnit(nn.Module):
    """Twice ReLU, convolution and norm, added to what came in.

    Args:
        channels: C.
        norm: kind of the norms.
    """

    def __init__(self, channels: int, norm: NormKind) -> None:
        super().__init__()
        self.conv1, self.conv2 = ActConvNorm(channels, norm), ActConvNorm(channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x + self.conv2(self.conv1(x))


class ActConvNorm(nn.Module):
    """ReLU, 3x3 convolution, norm.

    Args:
        channels: C.
        norm: kind of the norm.
    """

    def __init__(self, channels: int, norm: NormKind) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = make_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return self.bn(self.conv(x.relu()))
