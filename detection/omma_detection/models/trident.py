"""TridentNet (Li et al., Scale-Aware Trident Networks for Object Detection, 2019)."""

from __future__ import annotations

from torch import Tensor

from omma.backbones import TridentResNet
from omma.model import Preprocessor
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.faster_rcnn import FasterRCNN
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.heads.rpn_head import ProposalHead


@register
class TridentFasterRCNN(FasterRCNN):
    """Faster R-CNN on one map that several branches make; all learn from all objects, one detects.

    Args:
        backbone: image to the map of each branch.
        rpn_head: map to proposals.
        roi_head: proposals to detections.
        preprocessor: images to network input.
    """

    def __init__(
        self,
        *,
        backbone: TridentResNet,
        rpn_head: ProposalHead,
        roi_head: RoIHead,
        preprocessor: Preprocessor,
    ) -> None:
        if backbone.test_branch is None:
            raise ValueError("the detector needs backbone.test_branch, the branch that detects, got null")
        super().__init__(
            backbone=backbone, neck=None, rpn_head=rpn_head, roi_head=roi_head, preprocessor=preprocessor
        )

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of both stages, over all branches."""
        maps = self.features(batch.images)
        copies = len(maps[0]) // len(batch)
        return self.losses(maps, Batch(list(batch.images) * copies, batch.samples * copies))
