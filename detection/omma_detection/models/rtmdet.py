"""RTMDet (Lyu et al., RTMDet: An Empirical Study of Designing Real-Time Object Detectors, 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import Assignment, DynamicSoftLabelAssigner
from omma_detection.models.coders import distances_to_boxes
from omma_detection.models.heads.dense import DenseHead, map_sizes, shared_towers
from omma_detection.models.heads.detections import Candidates, Encoded, Selection, image_sizes
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import Objects, pad_objects
from omma_detection.models.priors import PointGenerator
from omma_detection.models.single_stage import SingleStageDetector

RTMDetOutputs = tuple[list[Tensor], list[Tensor]]
"""Per level: class logits (N, C, H, W), and distances (N, 4, H, W) in input pixels."""
RTMDET_SELECTION = Selection(score_threshold=0.001, pre_nms=30000, nms_iou=0.65, max_per_image=300)


@register
class RTMDet(SingleStageDetector):
    """CSPNeXt, its path aggregation, and one head that sees every position as a point.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: LevelTowers, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


class LevelTowers(DenseHead):
    """Towers whose convolutions all levels share and whose norms they don't; assignment, losses and boxes.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        points: the priors.
        assigner: which points are objects.
        cls_loss: over all points, targets the IoU of the predicted box for the object's class.
        box_loss: on the boxes of positives, weighted by that IoU.
        one_tower: scores and distances come from the same tower.
        norm: kind of norm in the towers.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        num_convs: int,
        num_classes: int,
        points: PointGenerator,
        assigner: DynamicSoftLabelAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        one_tower: bool,
        norm: NormKind,
        selection: Selection,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = points.strides
        self.num_classes = num_classes
        self.points, self.assigner, self.selection = points, assigner, selection
        self.cls_loss, self.box_loss = cls_loss, box_loss
        levels = range(len(points.strides))
        cls_towers, reg_towers = (
            shared_towers(in_channels, channels, num_convs, norm=norm, towers=len(levels), act="silu")
            for _ in range(2)
        )
        self.cls_convs = cls_towers
        # Checkpoints have the one tower under both names.
        self.reg_convs = cls_towers if one_tower else reg_towers
        self.rtm_cls = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in levels)
        self.rtm_reg = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in levels)
        init_conv(self, std=0.01)
        init_conv(self.rtm_cls, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {
            f"rtm_cls.{level}.{name}": ClassRows()
            for level in range(len(self.strides))
            for name in ("weight", "bias")
        }

    def point_losses(self, outputs: RTMDetOutputs, objects: Objects) -> tuple[dict[str, Tensor], Assignment]:
        """``loss_cls`` and ``loss_bbox``, and which point has which object."""
        points, strides = self.points.placed(map_sizes(outputs[0]), outputs[0][0].device)
        logits = flatten_levels(outputs[0], self.num_classes)
        boxes = distances_to_boxes(points, flatten_levels(outputs[1], 4))
        assigned, overlap = self.assigner(points, strides, logits.detach(), boxes.detach(), objects)
        targets, labels = objects.of(assigned.objects)
        image, prior = assigned.positive.nonzero(as_tuple=True)
        weight = overlap[image, prior]
        quality = torch.zeros_like(logits, dtype=torch.float32)
        quality[image, prior, labels[image, prior]] = weight
        count = normalizer(weight.sum())
        losses = {
            "loss_cls": self.cls_loss(logits.flatten(0, 1), quality.flatten(0, 1), avg_factor=count),
            "loss_bbox": self.box_loss(
                boxes[image, prior], targets[image, prior], weight=weight, avg_factor=count
            ),
        }
        return losses, assigned

    def candidates(self, outputs: RTMDetOutputs, batch: Batch) -> list[Candidates]:
        """Scored boxes of each level, in transformed pixels; their places count over all levels."""
        sizes = image_sizes(batch, outputs[0][0].device)
        levels, first = [], 0
        for points, cls, reg in zip(self.points.grid(map_sizes(outputs[0]), sizes.device), *outputs):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            boxes = Encoded(distances_to_boxes, points, flatten_levels([reg], 4))
            levels.append(self.selection.candidates(scores, boxes, sizes, first=first))
            first += len(points)
        return levels


@register
class RTMDetSepBNHead(LevelTowers):
    """Two towers whose convolutions all levels share and whose norms they don't, then scores and distances.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        points: the priors.
        assigner: which points are objects.
        cls_loss: over all points, targets the IoU of the predicted box for the object's class.
        box_loss: on the boxes of positives, weighted by that IoU.
        exp_on_reg: distances are exponentials of what the last layer gives.
        norm: kind of norm in the towers.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        num_convs: int = 2,
        num_classes: int,
        points: PointGenerator,
        assigner: DynamicSoftLabelAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        exp_on_reg: bool = True,
        norm: NormKind = "sync_bn",
        selection: Selection = RTMDET_SELECTION,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            points=points,
            assigner=assigner,
            cls_loss=cls_loss,
            box_loss=box_loss,
            one_tower=False,
            norm=norm,
            selection=selection,
        )
        self.exp_on_reg = exp_on_reg

    def forward(self, maps: Sequence[Tensor]) -> RTMDetOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits and distances per level."""
        logits = [last(tower(m)) for m, tower, last in zip(maps, self.cls_convs, self.rtm_cls)]
        distances = []
        for m, stride, tower, last in zip(maps, self.strides, self.reg_convs, self.rtm_reg):
            sides = last(tower(m)).float()
            distances.append((sides.exp() if self.exp_on_reg else sides) * stride)
        return logits, distances

    def loss(self, outputs: RTMDetOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``."""
        return self.point_losses(outputs, pad_objects(batch.samples, outputs[0][0].device))[0]

    def predict(self, outputs: RTMDetOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        return self.selection.predictions(self.candidates(outputs, batch), batch)
