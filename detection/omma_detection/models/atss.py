"""ATSS (Zhang et al., Bridging the Gap Between Anchor-based and Anchor-free Detection, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.layers import NormKind
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.assigners import ATSSAssigner
from omma_detection.models.coders import DeltaCoder, boxes_to_distances, center_quality
from omma_detection.models.heads.anchor_quality import AnchorQualityHead, QualityOutputs
from omma_detection.models.heads.detections import DEFAULT_SELECTION, Selection
from omma_detection.models.heads.targets import count_positives, flatten_levels
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector


@register
class ATSS(SingleStageDetector):
    """A pyramid and one head whose positives are chosen by the statistics of each object.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the anchor head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: ATSSHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class ATSSHead(AnchorQualityHead):
    """Class scores, deltas and centre-ness for one anchor at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower; 0: none, behind a neck that does their work (DyHead).
        num_classes: C.
        anchors: the priors.
        coder: box coder.
        assigner: which anchors are objects.
        cls_loss: over all anchors, labels with C as background.
        box_loss: on the boxes of positives, weighted by their centre-ness.
        centerness_loss: on the logits of positives.
        norm: kind of norm in the towers.
        kernel_size: of the last convolutions.
        selection: which boxes become predictions.
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
        assigner: ATSSAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        centerness_loss: Loss,
        norm: NormKind | None = "gn",
        kernel_size: int = 3,
        selection: Selection = DEFAULT_SELECTION,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            anchors=anchors,
            coder=coder,
            quality="centerness",
            norm=norm,
            kernel_size=kernel_size,
            selection=selection,
        )
        self.assigner = assigner
        self.cls_loss, self.box_loss, self.centerness_loss = cls_loss, box_loss, centerness_loss

    def loss(self, outputs: QualityOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox`` and ``loss_centerness``."""
        anchors, boxes = self.decode_all(outputs)
        objects = pad_objects(batch.samples, anchors.device)
        counts = [m[0, 0].numel() for m in outputs.logits]
        assigned = self.assigner(anchors, counts, objects, self.covered(outputs.logits, batch))
        targets, labels = objects.of(assigned.objects)
        positive = assigned.positive
        used = positive | assigned.negative
        labels = torch.where(positive, labels, self.num_classes)
        image, prior = positive.nonzero(as_tuple=True)
        target = targets[image, prior]
        centres = box_centres(anchors[prior])
        quality = center_quality(boxes_to_distances(centres, target))
        count = count_positives(positive)
        total = normalizer(quality.sum())
        logits = flatten_levels(outputs.logits, self.num_classes)
        centerness = flatten_levels(outputs.quality, 1)[..., 0]
        return {
            "loss_cls": self.cls_loss(logits[used], labels[used], avg_factor=count),
            "loss_bbox": self.box_loss(boxes[image, prior], target, weight=quality, avg_factor=total),
            "loss_centerness": self.centerness_loss(centerness[image, prior], quality, avg_factor=count),
        }
