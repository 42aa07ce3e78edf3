"""Detectors that predict at every position of a pyramid, without proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from omma.backbones import Backbone
from omma.checkpoint import Weights
from omma.model import Model, Preprocessor
from omma.necks import Neck
from omma.structures import Batch, Prediction
from omma_detection.models.heads.dense import DenseHead, check_levels, check_parts
from omma_detection.models.heads.placed import PlacedHead
from omma_detection.models.torchvision_weights import from_torchvision


class SingleStageDetector(Model):
    """Backbone, neck, dense head.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid; null: the head takes the backbone's maps.
        bbox_head: pyramid to boxes.
        preprocessor: images to network input.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self, *, backbone: Backbone, neck: Neck | None, bbox_head: DenseHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__()
        check_levels(
            *check_parts(backbone, neck),
            name="bbox_head",
            head_channels=bbox_head.in_channels,
            head_strides=bbox_head.strides,
        )
        self.preprocessor = preprocessor
        self.backbone = backbone
        self.neck = neck
        self.bbox_head = bbox_head

    def own_weights(self, state: Mapping[str, Tensor]) -> Weights | None:
        """Files of torchvision's detectors under this model's names, None for others."""
        return from_torchvision(state)

    def features(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The pyramid of uint8 RGB images."""
        maps = self.backbone(self.preprocessor(images))
        return maps if self.neck is None else self.neck(maps)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Any:
        """The head's raw maps for uint8 RGB images."""
        return self.bbox_head(self.features(images))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The head's losses."""
        return self.bbox_head.loss(self.forward(batch.images), batch)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        return self.bbox_head.predict(self.forward(batch.images), batch)


class PlacedDetector(SingleStageDetector):
    """A detector whose images may lie anywhere in the network's input, as the preprocessor has it.

    Args:
        backbone: image to feature maps.
        neck: feature maps to finer ones; null: the head takes the backbone's maps.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    bbox_head: PlacedHead

    def __init__(
        self, *, backbone: Backbone, neck: Neck | None, bbox_head: PlacedHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The head's losses."""
        return self.bbox_head.loss(self.forward(batch.images), batch, self.preprocessor.canvas(batch.sizes))

    def predict(self, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        return self.bbox_head.predict(
            self.forward(batch.images), batch, self.preprocessor.canvas(batch.sizes)
        )


class SingleStageSegmenter(Model):
    """Backbone, neck, and a dense head that gives masks at once, without boxes before them.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        mask_head: pyramid to masks.
        preprocessor: images to network input.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self, *, backbone: Backbone, neck: Neck, mask_head: DenseHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__()
        check_levels(
            *check_parts(backbone, neck),
            name="mask_head",
            head_channels=mask_head.in_channels,
            head_strides=mask_head.strides,
        )
        self.preprocessor = preprocessor
        self.backbone = backbone
        self.neck = neck
        self.mask_head = mask_head

    def features(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The pyramid of uint8 RGB images."""
        return self.neck(self.backbone(self.preprocessor(images)))

    def forward(self, images: Tensor | Sequence[Tensor]) -> Any:
        """The head's raw maps for uint8 RGB images."""
        return self.mask_head(self.features(images))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The head's losses."""
        return self.mask_head.loss(self.mask_head(self.features(batch.images)), batch)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Masks in original pixels."""
        return self.mask_head.predict(self.mask_head(self.features(batch.images)), batch)
