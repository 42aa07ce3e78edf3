"""RetinaNet (Lin et al., Focal Loss for Dense Object Detection, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.layers import NormKind
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.heads.anchor_towers import AnchorOutputs, AnchorTowers
from omma_detection.models.heads.detections import Selection
from omma_detection.models.heads.targets import count_positives, flatten_levels, match
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector


@register
class RetinaNet(SingleStageDetector):
    """A pyramid and one head of anchors on all of its levels.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the anchor head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: RetinaHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class RetinaHead(AnchorTowers):
    """Two towers of convolutions, then class scores and deltas for A anchors at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: the priors.
        coder: box coder.
        assigner: which anchors are objects.
        cls_loss: over positives and negatives, labels with C as background.
        box_loss: on the deltas of positives.
        norm: kind of norm in the towers.
        norm_per_level: norms of their own for each level, around the same convolutions.
        score_threshold: lowest score of a prediction.
        pre_nms: best (anchor, class) pairs of each level that go into NMS.
        nms_iou: threshold of NMS within a class.
        max_per_image: predictions per image.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 4,
        num_classes: int,
        anchors: AnchorGenerator,
        coder: DeltaCoder,
        assigner: MaxIoUAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        norm: NormKind | None = None,
        norm_per_level: bool = False,
        score_threshold: float = 0.05,
        pre_nms: int = 1000,
        nms_iou: float = 0.5,
        max_per_image: int = 100,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            anchors=anchors,
            coder=coder,
            norm=norm,
            norm_per_level=norm_per_level,
            selection=Selection(
                score_threshold=score_threshold,
                pre_nms=pre_nms,
                nms_iou=nms_iou,
                max_per_image=max_per_image,
            ),
        )
        self.coder: DeltaCoder = coder
        self.assigner = assigner
        # Called as OpenMMLab's: losses that remember past steps have buffers in checkpoints.
        self.loss_cls, self.loss_bbox = cls_loss, box_loss

    def loss(self, outputs: AnchorOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``, averaged over the positive anchors."""
        anchors = torch.cat(self.grid(outputs[0]))
        logits = flatten_levels(outputs[0], self.num_classes)  # (N, P, C)
        deltas = flatten_levels(outputs[1], 4)  # (N, P, 4)
        matched = match(anchors, self.covered(outputs[0], batch), batch.samples, self.assigner)
        positive = matched.positive
        used = positive | matched.negative
        labels = torch.where(positive, matched.labels, self.num_classes)
        count = count_positives(positive)
        image, prior = positive.nonzero(as_tuple=True)
        target = self.coder.encode(anchors[prior], matched.boxes[image, prior])
        return {
            "loss_cls": self.loss_cls(logits[used], labels[used], avg_factor=count),
            "loss_bbox": self.loss_bbox(deltas[image, prior], target, avg_factor=count),
        }
