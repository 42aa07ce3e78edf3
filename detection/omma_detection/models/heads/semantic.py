"""Semantic segmentation of the whole image beside a second stage (Chen et al., Hybrid Task Cascade, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.errors import DataError
from omma.layers import ConvNormAct, init_conv
from omma.registry import register
from omma.structures import Sample
from omma_detection.models.heads.dense import conv_tower


@register
class FusedSemanticHead(nn.Module):
    """All levels of the pyramid on one of them, convolutions, then classes and features of every pixel.

    Args:
        num_levels: of the pyramid.
        fusion_level: level whose size the others are brought to.
        num_convs: convolutions after the levels are added up.
        in_channels: channels of every level.
        channels: width.
        num_classes: of the segmentation, background among them.
        ignore_label: of pixels that don't count.
        loss_weight: factor of the loss.
        residual: convolutions in pairs beside a shortcut.
    """

    def __init__(
        self,
        *,
        num_levels: int = 5,
        fusion_level: int = 1,
        num_convs: int = 4,
        in_channels: int = 256,
        channels: int = 256,
        num_classes: int = 183,
        ignore_label: int = 255,
        loss_weight: float = 0.2,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= fusion_level < num_levels:
            raise ValueError(f"fusion_level must be in 0..{num_levels - 1}, got {fusion_level}")
        self.fusion_level, self.ignore_label, self.loss_weight = fusion_level, ignore_label, loss_weight
        self.lateral_convs = nn.ModuleList(ConvNormAct(in_channels, channels, 1) for _ in range(num_levels))
        self.convs: nn.Sequential | nn.ModuleList = (
            residual_tower(channels, num_convs // 2)
            if residual
            else conv_tower(channels, channels, num_convs, norm=None)
        )
        self.conv_embedding = ConvNormAct(channels, channels, 1)
        self.conv_logits = nn.Conv2d(channels, num_classes, 1)
        init_conv(self, kind="kaiming")

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Levels -> class logits (N, C, H, W) and features (N, channels, H, W) at the fusion level's size."""
        size = maps[self.fusion_level].shape[-2:]
        x = torch.zeros((), device=maps[0].device)
        for conv, level in zip(self.lateral_convs, maps):
            x = x + conv(F.interpolate(level, size, mode="bilinear", align_corners=True))
        for conv in self.convs:
            x = conv(x)
        return self.conv_logits(x), self.conv_embedding(x)

    def loss(self, logits: Tensor, samples: Sequence[Sample], stride: int) -> dict[str, Tensor]:
        """``loss_semantic_seg`` against the samples' ``semantic`` maps, taken every ``stride`` pixels.

        Raises:
            DataError: a sample has no such map.
        """
        target = torch.full_like(logits[:, 0], self.ignore_label, dtype=torch.int64)
        for row, sample in zip(target, samples):
            if "semantic" not in sample:
                raise DataError(
                    f"{sample['meta'].path}: the semantic head needs the classes of all pixels; "
                    "let the data set read them (semantic: FOLDER)"
                )
            classes = sample["semantic"].as_subclass(Tensor)
            # Nearest neighbours: classes can't be averaged.
            small = classes[::stride, ::stride][: row.shape[0], : row.shape[1]].to(row)
            row[: small.shape[0], : small.shape[1]] = small
        with torch.autocast(logits.device.type, enabled=False):
            values = F.cross_entropy(logits.float(), target, ignore_index=self.ignore_label, reduction="none")
        # Over all pixels, as the reference: few labelled ones don't weigh more.
        return {"loss_semantic_seg": self.loss_weight * values.mean()}


class ResidualConvs(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return x + self.conv2(self.conv1(x).relu())


def residual_tower(channels: int, count: int) -> nn.ModuleList:
    """``count`` pairs of convolutions, to be run in order."""
    return nn.ModuleList(ResidualConvs(channels) for _ in range(count))
