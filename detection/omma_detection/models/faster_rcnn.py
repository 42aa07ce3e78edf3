"""Faster R-CNN (Ren et al., 2015) on a feature pyramid, and Fast R-CNN (Girshick, 2015) inside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.errors import DataError
from omma.model import Model, Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.heads.rpn_head import RPNHead
from omma_detection.models.single_stage import check_neck


@register
class FasterRCNN(Model):
    """Backbone, neck, proposals, regions.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        rpn_head: pyramid to proposals.
        roi_head: proposals to detections.
        preprocessor: images to network input.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck,
        rpn_head: RPNHead,
        roi_head: RoIHead,
        preprocessor: Preprocessor,
    ) -> None:
        super().__init__()
        check_neck(backbone, neck)
        check_regions(neck, roi_head)
        if len(neck.out_channels) != len(rpn_head.strides) or set(neck.out_channels) != {
            rpn_head.in_channels
        }:
            given = f"{len(neck.out_channels)} levels of {neck.out_channels[0]} channels"
            raise ValueError(
                f"the neck gives {given}, rpn_head has strides {rpn_head.strides} and takes {rpn_head.in_channels}"
            )
        self.preprocessor = preprocessor
        self.backbone = backbone
        self.neck = neck
        self.rpn_head = rpn_head
        self.roi_head = roi_head

    def features(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The pyramid of uint8 RGB images."""
        return self.neck(self.backbone(self.preprocessor(images)))

    def forward(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The region head's raw outputs on the proposals for uint8 RGB images."""
        maps = self.features(images)
        proposals = self.rpn_head.propose(self.rpn_head(maps), Batch(list(images)))
        return self.roi_head(maps, [p.boxes for p in proposals])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of both stages."""
        maps = self.features(batch.images)
        outputs = self.rpn_head(maps)
        proposals = self.rpn_head.propose(outputs, batch)
        first = self.rpn_head.loss(outputs, batch)
        return first | self.roi_head.loss(maps, [p.boxes for p in proposals], batch)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Detections in original pixels."""
        maps = self.features(batch.images)
        proposals = self.rpn_head.propose(self.rpn_head(maps), batch)
        return self.roi_head.predict(maps, [p.boxes for p in proposals], batch)


@register
class FastRCNN(Model):
    """The second stage alone, on proposals that come with each sample.

    Samples carry ``proposals``, (P, 4) xyxy in transformed pixels.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        roi_head: proposals to detections.
        preprocessor: images to network input.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self, *, backbone: Backbone, neck: Neck, roi_head: RoIHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__()
        check_neck(backbone, neck)
        check_regions(neck, roi_head)
        self.preprocessor = preprocessor
        self.backbone = backbone
        self.neck = neck
        self.roi_head = roi_head

    def forward(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The region head's raw outputs with each whole image as its one proposal."""
        maps = self.neck(self.backbone(self.preprocessor(images)))
        whole = [torch.tensor([[0.0, 0.0, i.shape[-1], i.shape[-2]]], device=maps[0].device) for i in images]
        return self.roi_head(maps, whole)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of the region head."""
        maps = self.neck(self.backbone(self.preprocessor(batch.images)))
        return self.roi_head.loss(maps, _proposals(batch), batch)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Detections in original pixels."""
        maps = self.neck(self.backbone(self.preprocessor(batch.images)))
        return self.roi_head.predict(maps, _proposals(batch), batch)


def _proposals(batch: Batch) -> list[Tensor]:
    for sample in batch.samples:
        if "proposals" not in sample:
            path = sample["meta"].path
            raise DataError(
                f"{path}: Fast R-CNN needs proposals; give the data set a file of them (proposals: FILE)"
            )
    return [sample["proposals"].as_subclass(Tensor).float() for sample in batch.samples]


def check_regions(neck: Neck, roi_head: RoIHead) -> None:
    """Whether the region head takes what the neck gives.

    Raises:
        ValueError: other channels, or fewer levels than the extractor pools from.
    """
    head, extractor = roi_head.bbox_head, roi_head.bbox_roi_extractor
    if set(neck.out_channels) != {head.in_channels}:
        raise ValueError(
            f"the neck gives {neck.out_channels[0]} channels, bbox_head takes {head.in_channels}"
        )
    if len(extractor.strides) > len(neck.out_channels):
        raise ValueError(
            f"the neck gives {len(neck.out_channels)} levels, the extractor has strides {extractor.strides}"
        )
