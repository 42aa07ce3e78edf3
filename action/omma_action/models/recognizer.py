"""Backbone, neck and head on clips: the frame of all recognisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.model import Model, Preprocessor, Sees
from omma.necks import channels_behind
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_action.models.blending import Blending
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.clip_neck import ClipNeck
from omma_action.models.frame_mixing import FrameMixing
from omma_action.models.graph_backbone import GraphBackbone
from omma_action.models.heads.class_head import ClassHead
from omma_action.models.skeleton_preprocessor import SkeletonPreprocessor


@register
class Recognizer(Model):
    """What is done in a clip, of which it sees one or several views (clips in time, crops in space).

    Args:
        backbone: each frame, or the whole of a view, to feature maps.
        mixing: what lets the frames see each other in a backbone for images, in the order that they are put
            into it; null: nothing.
        neck: feature maps to other ones; null: the head takes the backbone's.
        cls_head: maps to the scores of classes.
        preprocessor: clips to network input (N, V, T, 3, H, W).
        blending: how clips of a batch are mixed in training; of several one is drawn for each batch.
        max_views: at most so many views of all clips go through the network at once in prediction; null: all.

    Raises:
        ValueError: the parts don't fit each other.
    """

    task: ClassVar[str] = "action"
    sees: Sees = "clip"

    def __init__(
        self,
        *,
        backbone: Backbone | ClipBackbone,
        mixing: FrameMixing | tuple[FrameMixing, ...] | None = None,
        neck: ClipNeck | None = None,
        cls_head: ClassHead,
        preprocessor: Preprocessor,
        blending: tuple[Blending, ...] = (),
        max_views: int | None = None,
    ) -> None:
        super().__init__()
        if max_views is not None and max_views < 1:
            raise ValueError(f"max_views must be at least 1, got {max_views}")
        self.preprocessor, self.backbone, self.neck, self.cls_head = preprocessor, backbone, neck, cls_head
        self.blending, self.max_views = tuple(blending), max_views
        if isinstance(preprocessor, SkeletonPreprocessor):
            self.sees = "skeletons"
        if isinstance(backbone, GraphBackbone):
            self.joints = backbone.joints
        for each in (mixing,) if isinstance(mixing, FrameMixing) else mixing or ():
            if not isinstance(backbone, Backbone):
                raise ValueError(f"frames see each other in {type(backbone).__name__} without any mixing")
            each.put_into(backbone)
        cls_head.check_maps(channels_behind(neck, backbone.out_channels))

    def maps(self, views: Tensor) -> tuple[Tensor, ...]:
        """The backbone's maps of views (B, T, 3, H, W)."""
        if isinstance(self.backbone, ClipBackbone):
            return self.backbone(self.backbone.arrange(views))
        return self.backbone(views.flatten(0, 1))

    def features(self, images: Sequence[Tensor]) -> Sequence[Tensor]:
        """The maps of clips, each uint8 (V, T, 3, H, W), that the head takes."""
        views = self.preprocessor(images).flatten(0, 1)
        return self._behind_neck(self.maps(views), len(views))

    def scores(self, views: Tensor) -> Tensor:
        """Scores (B, C) of views (B, T, 3, H, W), before any softmax."""
        return self.cls_head(self._behind_neck(self.maps(views), len(views)), len(views))

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Scores (N * V, C) of N clips, each uint8 (V, T, 3, H, W)."""
        return self.scores(self.preprocessor(images).flatten(0, 1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of the head; each view of a clip counts."""
        x = self.preprocessor(batch.images)
        views, each = x.flatten(0, 1), x.shape[1]
        labels = [sample["labels"] for sample in batch.samples]
        targets = self.cls_head.targets(labels).repeat_interleave(each, dim=0)
        if self.training and self.blending:
            views, targets = self.blending[int(torch.randint(len(self.blending), ()))](views, targets)
        maps = self.maps(views)
        losses = self.cls_head.loss(self.cls_head(self._behind_neck(maps, len(views)), len(views)), targets)
        if self.neck is None:
            return losses
        return losses | self.neck.loss(self._of_clips(maps, len(views)), targets)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Probabilities of the classes, averaged over the views of each clip."""
        x = self.preprocessor(batch.images)
        views = x.flatten(0, 1)
        parts = [self.scores(part) for part in views.split(self.max_views or len(views))]
        found = self.cls_head.combine(torch.cat(parts).unflatten(0, x.shape[:2]))
        return [{"class_scores": row} for row in found]

    def nothing(self) -> Prediction:
        """No class has any score where nobody is to be seen."""
        return {"class_scores": torch.zeros(self.cls_head.num_classes)}

    def _behind_neck(self, maps: Sequence[Tensor], clips: int) -> Sequence[Tensor]:
        return maps if self.neck is None else self.neck(self._of_clips(maps, clips))

    def _of_clips(self, maps: Sequence[Tensor], clips: int) -> Sequence[Tensor]:
        """The backbone's maps as (B, C, T, H, W), also where it has seen frames by themselves."""
        if isinstance(self.backbone, ClipBackbone):
            return maps
        return [x.unflatten(0, (clips, -1)).transpose(1, 2) for x in maps]
