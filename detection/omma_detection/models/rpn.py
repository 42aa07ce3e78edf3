"""Region proposal network as a detector of its own (Ren et al., Faster R-CNN, 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from omma.backbones import Backbone
from omma.model import Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.heads.rpn_head import ProposalHead
from omma_detection.models.single_stage import SingleStageDetector


@register
class RPN(SingleStageDetector):
    """Class-agnostic boxes where objects may be.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        rpn_head: pyramid to proposals.
        preprocessor: images to network input.
    """

    bbox_head: ProposalHead

    def __init__(
        self, *, backbone: Backbone, neck: Neck, rpn_head: ProposalHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=rpn_head, preprocessor=preprocessor)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Any:
        """The head's raw maps for uint8 RGB images."""
        return self.bbox_head.outputs(self.features(images), Batch(list(images)))
