"""Mask R-CNN (He et al., 2017)."""

from __future__ import annotations

from omma.backbones import Backbone
from omma.model import Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma_detection.models.faster_rcnn import FasterRCNN
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.heads.rpn_head import ProposalHead


@register
class MaskRCNN(FasterRCNN):
    """Faster R-CNN whose region head has a mask branch.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid; null: the heads take the backbone's maps.
        rpn_head: pyramid to proposals.
        roi_head: proposals to detections and masks.
        preprocessor: images to network input.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck | None = None,
        rpn_head: ProposalHead,
        roi_head: RoIHead,
        preprocessor: Preprocessor,
    ) -> None:
        if roi_head.mask_head is None:
            raise ValueError("Mask R-CNN needs roi_head.mask_head and roi_head.mask_roi_extractor")
        super().__init__(
            backbone=backbone, neck=neck, rpn_head=rpn_head, roi_head=roi_head, preprocessor=preprocessor
        )
