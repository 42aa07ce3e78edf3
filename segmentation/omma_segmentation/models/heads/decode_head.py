"""The contracts of heads: those that decode maps, and those that refine what another head decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import init_conv, resize
from omma.structures.class_rows import ClassRows
from omma_segmentation.losses import PixelLoss

PixelLosses = PixelLoss | tuple[PixelLoss, ...]
"""One or several losses on the same logits."""


class MapHead(nn.Module):
    """What all heads have in common: the maps that they take, and losses on logits.

    Args:
        in_channels: channels of the maps it takes; one number for one map.
        in_index: which of the maps these are; negative numbers count from the last one.
        num_classes: C.
        loss: one or several losses on the logits.
        align_corners: how maps and logits are resized.

    Raises:
        ValueError: ``in_channels`` and ``in_index`` name different numbers of maps.
    """

    def __init__(
        self,
        *,
        in_channels: int | tuple[int, ...],
        in_index: int | tuple[int, ...],
        num_classes: int,
        loss: PixelLosses,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = (in_channels,) if isinstance(in_channels, int) else tuple(in_channels)
        self.in_index = (in_index,) if isinstance(in_index, int) else tuple(in_index)
        if len(self.in_channels) != len(self.in_index):
            raise ValueError(
                f"in_channels and in_index must name as many maps, got {in_channels} and {in_index}"
            )
        self.num_classes, self.align_corners = num_classes, align_corners
        self.losses = nn.ModuleList([loss] if isinstance(loss, PixelLoss) else loss)

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Parameters whose rows belong to classes of the data, by name."""
        return {}

    def select(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps it takes, in its order."""
        return [maps[i] for i in self.in_index]

    def joined(self, maps: Sequence[Tensor]) -> Tensor:
        """The maps it takes, resized to the first of them, along one channel axis."""
        return self.concatenate(self.select(maps))

    def concatenate(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of any resolution, resized to the first of them, along one channel axis."""
        first, *rest = maps
        if not rest:
            return first
        return torch.cat([first, *(resize(x, first, align_corners=self.align_corners) for x in rest)], dim=1)

    def pixel_losses(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The head's losses of logits at any resolution."""
        logits = resize(logits, labels, align_corners=self.align_corners)
        found: dict[str, Tensor] = {}
        for loss in self.losses:
            assert isinstance(loss, PixelLoss)
            value = loss(logits, labels)
            found[loss.key] = found[loss.key] + value if loss.key in found else value
        return found


class DecodeHead(MapHead, ABC):
    """From a backbone's or neck's maps to the logits of every pixel, at a resolution of its own."""

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> Any:
        """Raw output for all maps (N, C_i, H_i, W_i): logits (N, C, H, W) unless ``logits`` says other."""

    def logits(self, outputs: Any) -> Tensor:
        """What of the raw output is predicted from, (N, C, H, W)."""
        return outputs

    def loss(self, outputs: Any, labels: Tensor) -> dict[str, Tensor]:
        """Named losses of the raw output and the labels (N, H, W) int64 of the network's input."""
        return self.pixel_losses(self.logits(outputs), labels)


class RefineHead(MapHead, ABC):
    """From a backbone's or neck's maps and the logits of the head before it to better logits."""

    @abstractmethod
    def forward(self, maps: Sequence[Tensor], coarse: Tensor) -> Tensor:
        """Maps (N, C_i, H_i, W_i) and logits (N, C, H, W) to logits (N, C, H', W')."""

    def loss(self, maps: Sequence[Tensor], coarse: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Named losses, from what ``forward`` takes and the labels (N, H, W) int64 of the network's input."""
        return self.pixel_losses(self(maps, coarse), labels)


class FeatureHead(DecodeHead):
    """A head that classifies features: by ``conv_seg`` behind dropout, as in OpenMMLab's checkpoints.

    Args:
        in_channels: channels of the maps it takes; one number for one map.
        in_index: which of the maps these are; negative numbers count from the last one.
        channels: width of the features.
        num_classes: C.
        loss: one or several losses on the logits.
        dropout: share of the features' channels that are dropped in training.
        align_corners: how maps and logits are resized.
        sub_pixels: s; each position of the features gives the logits of s x s places (sub-pixel convolution;
            Shi et al., Real-Time Single Image and Video Super-Resolution, 2016). Finer outlines at next to no
            cost.

    Raises:
        ValueError: as ``MapHead``, or ``sub_pixels`` is below 1.
    """

    def __init__(
        self,
        *,
        in_channels: int | tuple[int, ...],
        in_index: int | tuple[int, ...],
        channels: int,
        num_classes: int,
        loss: PixelLosses,
        dropout: float = 0.1,
        align_corners: bool = False,
        sub_pixels: int = 1,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            num_classes=num_classes,
            loss=loss,
            align_corners=align_corners,
        )
        if sub_pixels < 1:
            raise ValueError(f"sub_pixels must be at least 1, got {sub_pixels}")
        self.channels, self.sub_pixels = channels, sub_pixels
        self.dropout = nn.Dropout2d(dropout) if dropout > 0 else nn.Identity()
        self.conv_seg = nn.Conv2d(channels, num_classes * sub_pixels**2, 1)
        init_conv(self.conv_seg, std=0.01)

    @abstractmethod
    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""

    def forward(self, maps: Sequence[Tensor]) -> Any:
        """Logits (N, C, H, W), unless ``logits`` says other."""
        return self.classify(self.features(maps))

    def classify(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) -> logits (N, C, s * H, s * W), s = ``sub_pixels``."""
        logits = self.conv_seg(self.dropout(features))
        return F.pixel_shuffle(logits, self.sub_pixels) if self.sub_pixels > 1 else logits

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Parameters whose rows belong to classes, by name."""
        rows = ClassRows(per_class=self.sub_pixels**2)
        return {"conv_seg.weight": rows, "conv_seg.bias": rows}
