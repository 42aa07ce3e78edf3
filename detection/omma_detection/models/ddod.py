"""DDOD (Chen et al., Disentangle Your Dense Object Detector, 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.layers import NormKind
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import elementwise_iou
from omma.parallel import mean
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.assigners import Assignment, ATSSAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.heads.anchor_quality import AnchorQualityHead, QualityOutputs
from omma_detection.models.heads.detections import DEFAULT_SELECTION, Selection
from omma_detection.models.heads.targets import count_positives, flatten_levels
from omma_detection.models.objects import Objects, pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector


@register
class DDOD(SingleStageDetector):
    """A pyramid and one head that chooses its positives for classes and for boxes apart.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the anchor head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: DDODHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class DDODHead(AnchorQualityHead):
    """Towers that start with deformable convolutions; levels with few positives so far weigh more.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: the priors.
        coder: box coder.
        assigner: which anchors are objects, by how well they are predicted.
        cls_alpha: share of the IoU, against the class score, in that quality where classes are learned...
        reg_alpha: ...and where boxes are.
        cls_loss: over all anchors, labels with C as background.
        box_loss: on the boxes of positives.
        iou_loss: on the logits of positives.
        norm: kind of norm in the towers.
        selection: which boxes become predictions.
    """

    positives: Tensor

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
        cls_alpha: float = 0.8,
        reg_alpha: float = 0.5,
        cls_loss: Loss,
        box_loss: Loss,
        iou_loss: Loss,
        norm: NormKind | None = "gn",
        selection: Selection = DEFAULT_SELECTION,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            anchors=anchors,
            coder=coder,
            quality="iou",
            norm=norm,
            deform_first=True,
            selection=selection,
        )
        self.assigner, self.cls_alpha, self.reg_alpha = assigner, cls_alpha, reg_alpha
        self.cls_loss, self.box_loss, self.iou_loss = cls_loss, box_loss, iou_loss
        # How many positives each level had since training began, of either kind. Not among the weights, whose
        # names are those of published ones.
        self.register_buffer("positives", torch.zeros(len(anchors.strides)), persistent=False)

    def loss(self, outputs: QualityOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox`` and ``loss_iou``."""
        anchors, boxes = self.decode_all(outputs)
        counts = [m[0, 0].numel() for m in outputs.logits]
        logits = flatten_levels(outputs.logits, self.num_classes)
        objects = pad_objects(batch.samples, anchors.device)
        valid = self.covered(outputs.logits, batch)
        agreement = _Agreement(logits, boxes, objects)
        for_cls = self.assigner(anchors, counts, objects, valid, agreement.mix(self.cls_alpha))
        for_box = self.assigner(anchors, counts, objects, valid, agreement.mix(self.reg_alpha))
        level_cls = self._weights(for_cls, counts)
        level_box = self._weights(for_box, counts)

        labels = torch.where(for_cls.positive, objects.of(for_cls.objects)[1], self.num_classes)
        used = for_cls.positive | for_cls.negative
        weight = level_cls.expand_as(labels)[used][:, None]
        image, prior = for_box.positive.nonzero(as_tuple=True)
        target = objects.of(for_box.objects)[0][image, prior]
        found = boxes[image, prior]
        iou = elementwise_iou(found.detach(), target)
        quality = flatten_levels(outputs.quality, 1)[image, prior, 0]
        cls_count, box_count = count_positives(for_cls.positive), count_positives(for_box.positive)
        share = level_box[prior]
        return {
            "loss_cls": self.cls_loss(logits[used], labels[used], weight=weight, avg_factor=cls_count),
            "loss_bbox": self.box_loss(found, target, weight=share, avg_factor=box_count),
            "loss_iou": self.iou_loss(quality, iou, weight=share, avg_factor=box_count),
        }

    def training_state(self) -> dict[str, Tensor]:
        """The positives so far, for a run that goes on."""
        return {"positives": self.positives.clone().cpu()}

    def load_training_state(self, state: dict[str, Tensor]) -> None:
        """Put back what ``training_state`` gave."""
        self.positives.copy_(state["positives"].view_as(self.positives))

    @torch.no_grad()
    def _weights(self, assigned: Assignment, counts: Sequence[int]) -> Tensor:
        """Weight (P,) of each anchor: 1 on the level with most positives so far, 2 where there are fewest."""
        now = torch.stack([part.sum() for part in assigned.positive.split(list(counts), dim=1)])
        self.positives += mean(now.float())
        low, high = self.positives.aminmax()
        weights = 2 - (self.positives - low) / (high - low + 1e-10)
        return weights.repeat_interleave(torch.tensor(counts, device=weights.device))


class _Agreement:
    """How well each anchor's prediction agrees with each object, (N, G, P) each."""

    @torch.no_grad()
    def __init__(self, logits: Tensor, boxes: Tensor, objects: Objects) -> None:
        index = objects.labels[:, None].expand(-1, logits.shape[1], -1)
        self.score = logits.gather(2, index).transpose(1, 2).float().sigmoid()
        self.iou = elementwise_iou(objects.boxes[:, :, None], boxes[:, None])

    def mix(self, alpha: float) -> Tensor:
        """IoU to the power of ``alpha`` times score to that of the rest."""
        return self.score ** (1 - alpha) * self.iou**alpha
