"""Faster R-CNN (Ren et al., 2015) on a feature pyramid, and Fast R-CNN (Girshick, 2015) inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.checkpoint import Weights
from omma.errors import DataError
from omma.model import Model, Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.heads.dense import check_levels, check_parts
from omma_detection.models.heads.detections import image_sizes
from omma_detection.models.heads.region import RegionHead
from omma_detection.models.heads.rpn_head import ProposalHead
from omma_detection.models.torchvision_weights import from_torchvision


@register
class FasterRCNN(Model):
    """Backbone, neck, proposals, regions.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid; null: the heads take the backbone's maps.
        rpn_head: pyramid to proposals.
        roi_head: proposals to detections.
        preprocessor: images to network input.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck | None = None,
        rpn_head: ProposalHead,
        roi_head: RegionHead,
        preprocessor: Preprocessor,
    ) -> None:
        super().__init__()
        channels, strides = check_parts(backbone, neck)
        check_levels(
            channels,
            strides,
            name="rpn_head",
            head_channels=rpn_head.in_channels,
            head_strides=rpn_head.strides,
        )
        check_regions(channels, strides, roi_head)
        self.preprocessor = preprocessor
        self.backbone = backbone
        self.neck = neck
        self.rpn_head = rpn_head
        self.roi_head = roi_head

    def own_weights(self, state: Mapping[str, Tensor]) -> Weights | None:
        """Files of torchvision's detectors under this model's names, None for others."""
        return from_torchvision(state)

    def features(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The pyramid of uint8 RGB images."""
        maps = self.backbone(self.preprocessor(images))
        return maps if self.neck is None else self.neck(maps)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Any:
        """The region head's raw outputs on the proposals for uint8 RGB images."""
        maps, batch = self.features(images), Batch(list(images))
        proposals = self._propose(maps, batch)
        return self.roi_head(maps, proposals, image_sizes(batch, maps[0].device))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of both stages."""
        return self.losses(self.features(batch.images), batch)

    def losses(self, maps: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        """Losses of both stages on the pyramid of a batch."""
        outputs = self.rpn_head.outputs(maps, batch)
        proposals = self.rpn_head.propose(outputs, batch, training=True)
        first = self.rpn_head.loss(outputs, batch)
        return first | self.roi_head.loss(maps, [p.boxes for p in proposals], batch)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Detections in original pixels."""
        maps = self.features(batch.images)
        return self.roi_head.predict(maps, self._propose(maps, batch), batch)

    def _propose(self, maps: Sequence[Tensor], batch: Batch) -> list[Tensor]:
        outputs = self.rpn_head.outputs(maps, batch)
        proposals = self.rpn_head.propose(outputs, batch, training=False)
        return [p.boxes for p in proposals]


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
        self, *, backbone: Backbone, neck: Neck, roi_head: RegionHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__()
        check_regions(*check_parts(backbone, neck), roi_head)
        self.preprocessor = preprocessor
        self.backbone = backbone
        self.neck = neck
        self.roi_head = roi_head

    def forward(self, images: Tensor | Sequence[Tensor]) -> Any:
        """The region head's raw outputs with each whole image as its one proposal."""
        maps = self.neck(self.backbone(self.preprocessor(images)))
        whole = [torch.tensor([[0.0, 0.0, i.shape[-1], i.shape[-2]]], device=maps[0].device) for i in images]
        return self.roi_head(maps, whole, image_sizes(Batch(list(images)), maps[0].device))

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
                f"{path}: Fast R-CNN needs proposals; put LoadProposals first among the transforms"
            )
    return [sample["proposals"].as_subclass(Tensor).float() for sample in batch.samples]


def check_regions(channels: Sequence[int], strides: Sequence[int], roi_head: RegionHead) -> None:
    """Whether the region head takes what the pyramid gives.

    Raises:
        ValueError: other channels, or other strides than the extractors pool from.
    """
    for name, head_channels, extractor in roi_head.pooled():
        check_levels(
            channels,
            strides[: len(extractor.strides)],
            name=f"roi_head.{name}_head (pooled by {name}_roi_extractor)",
            head_channels=head_channels,
            head_strides=extractor.strides,
        )
