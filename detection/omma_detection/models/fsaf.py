"""FSAF (Zhu et al., Feature Selective Anchor-Free Module for Single-Shot Object Detection, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import NormKind
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.assigners import CenterRegionAssigner
from omma_detection.models.coders import SideCoder
from omma_detection.models.heads.anchor_towers import AnchorOutputs, AnchorTowers
from omma_detection.models.heads.detections import Selection
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector

_LEAST_SIDE = 1e-4
"""In the coder's unit: boxes without area have no gradient."""
_SELECTION = Selection(nms_iou=0.5)


@register
class FSAF(SingleStageDetector):
    """RetinaNet's towers without anchors; each object learns from the level that finds it best.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: FSAFHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class FSAFHead(AnchorTowers):
    """Class scores and the distances to a box's sides at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: one per position, of its stride's size.
        coder: box coder.
        assigner: which positions are in the middle of objects, on any level.
        cls_loss: over all positions, labels with C as background.
        box_loss: on the boxes of positives.
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
        coder: SideCoder,
        assigner: CenterRegionAssigner,
        cls_loss: Loss,
        box_loss: Loss,
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
        self.assigner, self.cls_loss, self.box_loss = assigner, cls_loss, box_loss
        # So that boxes have an area at first.
        nn.init.constant_(self.retina_reg.get_parameter("bias"), 0.25)

    def forward(self, maps: Sequence[Tensor]) -> AnchorOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits and distances per level."""
        logits, sides = super().forward(maps)
        return logits, [side.relu() for side in sides]

    def loss(self, outputs: AnchorOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``."""
        anchors = torch.cat(self.grid(outputs[0]))
        logits = flatten_levels(outputs[0], self.num_classes)
        sides = flatten_levels(outputs[1], 4).clamp(min=_LEAST_SIDE)
        objects = pad_objects(batch.samples, anchors.device)
        valid = self.covered(outputs[0], batch)
        assigned, shadowed = self.assigner(anchors, objects, valid, self.num_classes)
        image, prior = assigned.positive.nonzero(as_tuple=True)
        owner = assigned.objects[image, prior]
        target, label = objects.boxes[image, owner], objects.labels[image, owner]
        boxes = self.coder.decode(anchors[prior], sides[image, prior])
        labels = torch.full_like(assigned.objects, self.num_classes)
        labels[image, prior] = label
        weight = ((assigned.positive | assigned.negative)[..., None] & ~shadowed).float()
        with torch.no_grad():
            costs = (self.cls_loss.elements(logits[image, prior].float(), label) * weight[image, prior]).sum(
                1
            )
            costs = costs + self.box_loss.elements(boxes, target)
            group = image * objects.real.shape[1] + owner
            level = self._levels(outputs[0])[prior]
            kept = best_level(costs, group, level, objects.real.numel(), len(self.strides))
            # For the class that it would have there, a position on another level is neither right nor wrong.
            weight[image[~kept], prior[~kept], label[~kept]] = 0
        count = normalizer(torch.where(kept.any(), kept.sum(), assigned.negative.sum()))
        return {
            "loss_cls": self.cls_loss(
                logits.flatten(0, 1), labels.flatten(), weight=weight.flatten(0, 1), avg_factor=count
            ),
            "loss_bbox": self.box_loss(boxes, target, weight=kept.float(), avg_factor=count),
        }

    def _levels(self, maps: Sequence[Tensor]) -> Tensor:
        """Level (P,) of each position."""
        counts = torch.tensor([m[0, 0].numel() for m in maps], device=maps[0].device)
        return torch.arange(len(maps), device=maps[0].device).repeat_interleave(counts)


def best_level(costs: Tensor, groups: Tensor, levels: Tensor, num_groups: int, num_levels: int) -> Tensor:
    """Which of K positions lie on the level where their group's mean cost is least, (K,) bool.

    Args:
        costs: (K,).
        groups: (K,) integers from 0, below ``num_groups``.
        levels: (K,) integers from 0, below ``num_levels``.
    """
    key = groups * num_levels + levels
    total = costs.new_zeros(num_groups * num_levels).index_add(0, key, costs)
    count = torch.zeros_like(total).index_add(0, key, torch.ones_like(costs))
    mean = torch.where(count > 0, total / count.clamp(min=1), torch.inf).view(num_groups, num_levels)
    return mean.argmin(dim=1)[groups] == levels
