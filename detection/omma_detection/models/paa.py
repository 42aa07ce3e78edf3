"""PAA (Kim and Lee, Probabilistic Anchor Assignment with IoU Prediction, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.layers import NormKind
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import elementwise_iou, pairwise_iou
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.assigners import MaxIoUAssigner, PAASeparation
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.heads.anchor_quality import AnchorQualityHead, QualityOutputs
from omma_detection.models.heads.detections import (
    DEFAULT_SELECTION,
    Candidates,
    Encoded,
    Selection,
    image_sizes,
)
from omma_detection.models.heads.targets import flatten_levels, match
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector

_VOTE_WIDTH = 0.025
"""Variance of the weight of a vote, in (1 - IoU)^2."""
_VOTE_LEAST_IOU = 0.01


@register
class PAA(SingleStageDetector):
    """A pyramid and one head that learns from the anchors which its own losses call positive.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the anchor head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: PAAHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class PAAHead(AnchorQualityHead):
    """Class scores, deltas and the IoU of its box for one anchor at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: the priors.
        coder: box coder.
        assigner: which anchors may be objects.
        separation: which of them are.
        cls_loss: over all anchors, labels with C as background.
        box_loss: on the boxes of positives, weighted by their IoU.
        iou_loss: on the logits of positives.
        norm: kind of norm in the towers.
        score_voting: move each prediction to the weighted mean of the candidates that overlap it.
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
        assigner: MaxIoUAssigner,
        separation: PAASeparation,
        cls_loss: Loss,
        box_loss: Loss,
        iou_loss: Loss,
        norm: NormKind | None = "gn",
        score_voting: bool = True,
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
            selection=selection,
        )
        self.assigner, self.separation, self.score_voting = assigner, separation, score_voting
        self.cls_loss, self.box_loss, self.iou_loss = cls_loss, box_loss, iou_loss

    def loss(self, outputs: QualityOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox`` and ``loss_iou``."""
        anchors, boxes = self.decode_all(outputs)
        logits = flatten_levels(outputs.logits, self.num_classes)
        matched = match(anchors, self.covered(outputs.logits, batch), batch.samples, self.assigner)
        used = matched.positive | matched.negative
        image, prior = matched.positive.nonzero(as_tuple=True)
        label, target = matched.labels[image, prior], matched.boxes[image, prior]
        with torch.no_grad():
            index = torch.stack([assignment.objects for assignment in matched.assignments])[image, prior]
            group = image * (index.amax() + 1 if len(index) else 1) + index
            sizes = torch.tensor([m[0, 0].numel() for m in outputs.logits], device=prior.device)
            level = torch.bucketize(prior, sizes.cumsum(0), right=True)
            costs = self._costs(logits[image, prior], label, boxes[image, prior], target)
            chosen = self.separation(costs, group, level)
        image, prior, label, target = image[chosen], prior[chosen], label[chosen], target[chosen]
        labels = torch.full_like(matched.labels, self.num_classes)
        labels[image, prior] = label
        iou = elementwise_iou(boxes[image, prior].detach(), target)
        count = normalizer(chosen.sum())
        # Each image counts at least once, so that images without objects don't raise the average.
        cls_count = normalizer(chosen.sum().clamp(min=len(batch)))
        total = normalizer(iou.sum(), least=1e-6)
        quality = flatten_levels(outputs.quality, 1)[image, prior, 0]
        return {
            "loss_cls": self.cls_loss(logits[used], labels[used], avg_factor=cls_count),
            "loss_bbox": self.box_loss(boxes[image, prior], target, weight=iou, avg_factor=total),
            "loss_iou": self.iou_loss(quality, iou, avg_factor=count),
        }

    def _costs(self, logits: Tensor, labels: Tensor, boxes: Tensor, targets: Tensor) -> Tensor:
        """The loss (K,) of each candidate if it was positive."""
        cls = self.cls_loss.elements(logits.float(), labels).sum(dim=1) * self.cls_loss.loss_weight
        return cls + self.box_loss.elements(boxes, targets) * self.box_loss.loss_weight

    def predict(self, outputs: QualityOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels, scored by the geometric mean of class probability and IoU."""
        pool = self.selection.pool(self._candidates(outputs, batch), batch)
        found = self.selection.best(pool, len(batch))
        if self.score_voting:
            found = [vote(own, pool[pool.images == row]) for row, own in enumerate(found)]
        return [Prediction(boxes=f.boxes, scores=f.scores, labels=f.labels) for f in found]

    def _candidates(self, outputs: QualityOutputs, batch: Batch) -> list[Candidates]:
        """(Anchor, class) pairs above the threshold at the best anchors of each level."""
        sizes = image_sizes(batch, outputs.logits[0].device)
        levels = []
        for anchors, cls, reg, quality in zip(self.grid(outputs.logits), *outputs):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            good = flatten_levels([quality], 1).float().sigmoid()
            boxes = Encoded(self.coder.decode, anchors, flatten_levels([reg], 4))
            levels.append(self.selection.candidates_at_best((scores * good).sqrt(), boxes, sizes))
        return levels


def vote(found: Candidates, pool: Candidates) -> Candidates:
    """Each box of ``found`` moved to the mean of its class's boxes in ``pool``, weighted by IoU and score."""
    iou = pairwise_iou(found.boxes, pool.boxes)
    same = (found.labels[:, None] == pool.labels) & (iou > _VOTE_LEAST_IOU)
    weight = (-((1 - iou) ** 2) / _VOTE_WIDTH).exp() * pool.scores * same
    boxes = (weight @ pool.boxes) / weight.sum(dim=1, keepdim=True)
    return Candidates(boxes, found.scores, found.labels, found.images)
