"""Cascade R-CNN (Cai and Vasconcelos, Cascade R-CNN: Delving into High Quality Object Detection, 2018)."""

from __future__ import annotations

from omma.backbones import Backbone
from omma.model import Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma_detection.models.faster_rcnn import FasterRCNN
from omma_detection.models.heads.cascade_roi_head import CascadeRoIHead
from omma_detection.models.heads.rpn_head import ProposalHead


@register
class CascadeRCNN(FasterRCNN):
    """Faster R-CNN whose second stage refines boxes in several steps; with masks Cascade Mask R-CNN.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid; null: the heads take the backbone's maps.
        rpn_head: pyramid to proposals.
        roi_head: proposals to detections.
        preprocessor: images to network input.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck | None = None,
        rpn_head: ProposalHead,
        roi_head: CascadeRoIHead,
        preprocessor: Preprocessor,
    ) -> None:
        super().__init__(
            backbone=backbone, neck=neck, rpn_head=rpn_head, roi_head=roi_head, preprocessor=preprocessor
        )
