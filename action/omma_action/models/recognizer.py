"""Backbone, neck and head on clips: the frame of all recognisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.model import Model, Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.heads.class_head import ClassHead


@register
class Recognizer(Model):
    """What is done in a clip, of which it sees one or several views (clips in time, crops in space).

    Args:
        backbone: each frame, or the whole of a view, to feature maps.
        neck: feature maps to other ones; null: the head takes the backbone's.
        cls_head: maps to the scores of classes.
        preprocessor: clips to network input (N, V, T, 3, H, W).
        max_views: at most so many views of all clips go through the network at once in prediction; null: all.

    Raises:
        ValueError: the parts don't fit each other.
    """

    task: ClassVar[str] = "action"

    def __init__(
        self,
        *,
        backbone: Backbone | ClipBackbone,
        neck: Neck | None = None,
        cls_head: ClassHead,
        preprocessor: Preprocessor,
        max_views: int | None = None,
    ) -> None:
        super().__init__()
        if max_views is not None and max_views < 1:
            raise ValueError(f"max_views must be at least 1, got {max_views}")
        self.preprocessor, self.backbone, self.neck, self.cls_head = preprocessor, backbone, neck, cls_head
        self.max_views = max_views
        if neck is not None and tuple(neck.in_channels) != tuple(backbone.out_channels):
            raise ValueError(
                f"neck.in_channels {list(neck.in_channels)} are not those of the backbone, "
                f"{list(backbone.out_channels)}"
            )
        cls_head.check_maps(backbone.out_channels if neck is None else neck.out_channels)

    def maps(self, views: Tensor) -> tuple[Tensor, ...]:
        """The backbone's maps of views (B, T, 3, H, W)."""
        if isinstance(self.backbone, ClipBackbone):
            return self.backbone(self.backbone.arrange(views))
        return self.backbone(views.flatten(0, 1))

    def features(self, images: Sequence[Tensor]) -> Sequence[Tensor]:
        """The maps of clips, each uint8 (V, T, 3, H, W), that the head takes."""
        maps = self.maps(self.preprocessor(images).flatten(0, 1))
        return maps if self.neck is None else self.neck(maps)

    def scores(self, views: Tensor) -> Tensor:
        """Scores (B, C) of views (B, T, 3, H, W), before any softmax."""
        maps = self.maps(views)
        return self.cls_head(maps if self.neck is None else self.neck(maps), len(views))

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Scores (N * V, C) of N clips, each uint8 (V, T, 3, H, W)."""
        return self.scores(self.preprocessor(images).flatten(0, 1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of the head; each view of a clip counts."""
        x = self.preprocessor(batch.images)
        targets = self.cls_head.targets([sample["labels"] for sample in batch.samples])
        return self.cls_head.loss(self.scores(x.flatten(0, 1)), targets.repeat_interleave(x.shape[1], dim=0))

    def predict(self, batch: Batch) -> list[Prediction]:
        """Probabilities of the classes, averaged over the views of each clip."""
        x = self.preprocessor(batch.images)
        views = x.flatten(0, 1)
        parts = [self.scores(part) for part in views.split(self.max_views or len(views))]
        found = self.cls_head.combine(torch.cat(parts).unflatten(0, x.shape[:2]))
        return [{"class_scores": row} for row in found]
