"""Region proposal network as a detector of its own (Ren et al., Faster R-CNN, 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from omma.backbones import Backbone
from omma.model import Model, Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.heads.detections import box_scales
from omma_detection.models.heads.rpn_head import RPNHead, RPNOutputs
from omma_detection.models.single_stage import check_neck


@register
class RPN(Model):
    """Class-agnostic boxes where objects may be.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        rpn_head: pyramid to proposals.
        preprocessor: images to network input.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self, *, backbone: Backbone, neck: Neck, rpn_head: RPNHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__()
        check_neck(backbone, neck)
        self.preprocessor = preprocessor
        self.backbone = backbone
        self.neck = neck
        self.rpn_head = rpn_head

    def forward(self, images: Tensor | Sequence[Tensor]) -> RPNOutputs:
        """Objectness and deltas per level for uint8 RGB images."""
        return self.rpn_head(self.neck(self.backbone(self.preprocessor(images))))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The head's losses."""
        return self.rpn_head.loss(self.forward(batch.images), batch)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Proposals in original pixels, all with label 0."""
        found = self.rpn_head.propose(self.forward(batch.images), batch)
        scales = box_scales(batch, found[0].boxes.device)
        return [
            Prediction(boxes=f.boxes / scale, scores=f.scores, labels=f.labels.new_zeros(len(f.labels)))
            for f, scale in zip(found, scales)
        ]
