"""FreeAnchor (Zhang et al., FreeAnchor: Learning to Match Anchors for Visual Object Detection, 2019)."""

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
from omma.structures import Batch
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.heads.anchor_towers import AnchorOutputs, AnchorTowers
from omma_detection.models.heads.detections import Selection
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import Objects, pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector

_EPS = 1e-12
_SELECTION = Selection(nms_iou=0.5)


@register
class FreeAnchor(SingleStageDetector):
    """RetinaNet whose objects choose among bags of anchors by likelihood.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the anchor head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: FreeAnchorHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class FreeAnchorHead(AnchorTowers):
    """RetinaNet's head, whose anchors have no fixed objects.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: the priors.
        coder: box coder.
        box_loss: on deltas; exp(-loss) is the probability that an anchor finds an object.
        bag_size: anchors that overlap an object most, from which it chooses.
        iou_threshold: IoU from which on a predicted box may count as having found an object.
        gamma: how fast easy negatives fade.
        alpha: weight of the bags, 1 - alpha that of the negatives.
        norm: kind of norm in the towers.
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
        box_loss: Loss,
        bag_size: int = 50,
        iou_threshold: float = 0.6,
        gamma: float = 2.0,
        alpha: float = 0.5,
        norm: NormKind | None = None,
        selection: Selection = _SELECTION,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            anchors=anchors,
            coder=coder,
            norm=norm,
            selection=selection,
        )
        self.coder: DeltaCoder = coder
        self.box_loss, self.bag_size, self.iou_threshold = box_loss, bag_size, iou_threshold
        self.gamma, self.alpha = gamma, alpha

    def loss(self, outputs: AnchorOutputs, batch: Batch) -> dict[str, Tensor]:
        """``positive_bag_loss`` and ``negative_bag_loss``."""
        anchors = torch.cat(self.grid(outputs[0]))
        scores = flatten_levels(outputs[0], self.num_classes).float().sigmoid()  # (N, P, C)
        deltas = flatten_levels(outputs[1], 4).float()
        objects = pad_objects(batch.samples, anchors.device)
        count = objects.real.sum()
        bags = self._bags(anchors, scores, deltas, objects) * objects.real
        found = self._found(self.coder.decode(anchors, deltas.detach()), objects)
        # The clamp keeps the logarithm finite where a box is found for sure.
        wrong = (scores * (1 - found)).clamp(_EPS, 1 - _EPS)
        negative = -(wrong**self.gamma) * torch.log1p(-wrong)
        return {
            "positive_bag_loss": self.alpha * bags.sum() / normalizer(count),
            "negative_bag_loss": (1 - self.alpha) * negative.sum() / normalizer(count * self.bag_size),
        }

    def _bags(self, anchors: Tensor, scores: Tensor, deltas: Tensor, objects: Objects) -> Tensor:
        """Minus the log likelihood (N, G) that some anchor of its bag finds each object."""
        n, g = objects.real.shape
        overlaps = pairwise_iou(objects.boxes.flatten(0, 1), anchors).unflatten(0, (n, g))
        bag = overlaps.topk(min(self.bag_size, len(anchors)), dim=2).indices  # (N, G, K)
        image = torch.arange(n, device=bag.device)[:, None, None]
        score = scores[image, bag, objects.labels[..., None]]
        # Where there is no object, any box does: it isn't counted.
        wanted = torch.where(objects.real[..., None, None], objects.boxes[:, :, None], anchors[bag])
        target = self.coder.encode(anchors[bag].flatten(0, 2), wanted.flatten(0, 2))
        loss = self.box_loss.elements(deltas[image, bag].flatten(0, 2), target).sum(dim=1)
        both = score * (-self.box_loss.loss_weight * loss).exp().view_as(score)
        weight = 1 / (1 - both).clamp(min=_EPS)
        likelihood = (weight * both).sum(dim=2) / weight.sum(dim=2)
        return -likelihood.log().clamp(min=-100)

    @torch.no_grad()
    def _found(self, boxes: Tensor, objects: Objects) -> Tensor:
        """Probability (N, P, C) that a predicted box found an object of a class."""
        iou = elementwise_iou(objects.boxes[:, :, None], boxes[:, None]) * objects.real[..., None]
        low = self.iou_threshold
        high = iou.amax(dim=2, keepdim=True).clamp(min=low + _EPS)
        share = ((iou - low) / (high - low)).clamp(0, 1)  # (N, G, P)
        by_class = share.new_zeros(len(share), self.num_classes, share.shape[2])
        index = objects.labels[..., None].expand_as(share)
        return by_class.scatter_reduce(1, index, share, "amax").transpose(1, 2)
