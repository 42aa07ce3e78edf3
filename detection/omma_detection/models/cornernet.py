"""CornerNet (Law and Deng, CornerNet: Detecting Objects as Paired Keypoints, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.losses import Loss
from omma.model import Preprocessor
from omma.registry import register
from omma_detection.models.heads.corner_towers import (
    SIDES,
    CornerPair,
    CornerTargets,
    CornerTowers,
    Found,
)
from omma_detection.models.heads.detections import Selection
from omma_detection.models.heads.gaussian import at_places
from omma_detection.models.heads.placed import Frame
from omma_detection.models.objects import Objects
from omma_detection.models.single_stage import PlacedDetector


@register
class CornerNet(PlacedDetector):
    """An hourglass and a head that finds corners and pairs them.

    Args:
        backbone: image to feature maps of one size.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(self, *, backbone: Backbone, bbox_head: CornerTowers, preprocessor: Preprocessor) -> None:
        super().__init__(backbone=backbone, neck=None, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class CornerNetHead(CornerTowers):
    """Corners, and a number for each that is alike for the two of one object.

    Args:
        in_channels: channels of every level.
        num_classes: C.
        levels: maps that come in.
        stride: input pixels per position.
        heat_loss: on the heat maps.
        offset_loss: on the offsets at corners.
        pull_weight: of the loss that draws the numbers of an object's corners together.
        push_weight: of the loss that keeps those of different objects apart.
        corners: likeliest corners of each kind from which pairs are made.
        furthest: greatest difference of the numbers in a pair.
        selection: which pairs become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        num_classes: int,
        levels: int = 2,
        stride: int = 4,
        heat_loss: Loss,
        offset_loss: Loss,
        pull_weight: float = 0.1,
        push_weight: float = 0.1,
        corners: int = 100,
        furthest: float = 0.5,
        selection: Selection,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            levels=levels,
            stride=stride,
            heat_loss=heat_loss,
            offset_loss=offset_loss,
            corners=corners,
            selection=selection,
        )
        self.pull_weight, self.push_weight, self.furthest = pull_weight, push_weight, furthest
        for side in SIDES:
            self.add_branches(f"{side}_emb", 1)

    def ties(self, side: str, level: int, pooled: Tensor) -> tuple[Tensor, ...]:
        """The numbers (N, 1, H, W)."""
        return (self.branch(f"{side}_emb", level)(pooled).float(),)

    def tie_losses(self, pair: CornerPair, targets: CornerTargets) -> dict[str, Tensor]:
        """``loss_pull`` and ``loss_push``."""
        numbers = [
            at_places(maps.ties[0], marks.places)[..., 0] for maps, marks in zip(pair, targets.corners)
        ]
        pull, push = pull_and_push(numbers[0], numbers[1], targets.objects)
        return {"loss_pull": self.pull_weight * pull, "loss_push": self.push_weight * push}

    def tied(self, pair: CornerPair, found: tuple[Found, Found], boxes: Tensor, frame: Frame) -> Tensor:
        """(N, K, K) bool: whether the numbers are alike."""
        first, second = (at_places(maps.ties[0], f.places)[..., 0] for maps, f in zip(pair, found))
        return (first[:, :, None] - second[:, None]).abs() <= self.furthest


def pull_and_push(first: Tensor, second: Tensor, objects: Objects) -> tuple[Tensor, Tensor]:
    """How far the two numbers of an object are from their mean, and how near the means of different ones.

    Both are means over an image's objects, or pairs of them, and sums over the images; means that are at
    least 1 apart are no longer pushed.

    Args:
        first: (N, G).
        second: (N, G).
        objects: whose they are.
    """
    real = objects.real
    mean = (first + second) / 2
    count = real.sum(dim=1)
    spread = ((first - mean).square() + (second - mean).square()) * real
    pull = spread.sum(dim=1) / count.clamp(min=1)
    near = (1 - (mean[:, :, None] - mean[:, None]).abs()).relu()
    others = (
        real[:, :, None] & real[:, None] & ~torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
    )
    push = (near * others).sum(dim=(1, 2)) / (count * (count - 1)).clamp(min=1)
    return pull.sum(), push.sum()
