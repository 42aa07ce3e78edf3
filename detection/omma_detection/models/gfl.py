"""GFL (Li et al., Generalized Focal Loss, 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import NormKind, Scale, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres, elementwise_iou
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import ATSSAssigner
from omma_detection.models.coders import boxes_to_distances, distances_to_boxes, expected_distances
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import DEFAULT_SELECTION, Encoded, Selection, image_sizes
from omma_detection.models.heads.targets import count_positives, flatten_levels
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector

GFLOutputs = tuple[list[Tensor], list[Tensor]]
"""Per level: class logits (N, C, H, W), and logits of the distances (N, 4 * (M + 1), H, W) in strides."""
_BELOW_TOP = 0.1
"""Strides that a target stays below the largest distance, as the two whole numbers around it must exist."""


@register
class GFL(SingleStageDetector):
    """A pyramid and one head whose class scores are the quality of its boxes, and whose sides are
    distributions.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: GFLHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class GFLHead(DenseHead):
    """Two towers, then class scores and four distributions of distances at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: the priors, one per position; boxes are measured from their centres.
        assigner: which anchors are objects.
        cls_loss: over all anchors, targets the IoU of the predicted box for the object's class.
        box_loss: on the boxes of positives, weighted by their class score.
        distribution_loss: on the sides of positives, likewise.
        max_distance: M, the largest distance in strides.
        norm: kind of norm in the towers.
        selection: which boxes become predictions.

    Raises:
        ValueError: there is more than one anchor per position.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 4,
        num_classes: int,
        anchors: AnchorGenerator,
        assigner: ATSSAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        distribution_loss: Loss,
        max_distance: int = 16,
        norm: NormKind | None = "gn",
        selection: Selection = DEFAULT_SELECTION,
    ) -> None:
        super().__init__()
        if anchors.per_position != 1:
            raise ValueError(f"anchors must be one per position, got {anchors.per_position}")
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = num_classes
        self.anchors, self.assigner, self.selection = anchors, assigner, selection
        self.cls_loss, self.box_loss, self.distribution_loss = cls_loss, box_loss, distribution_loss
        self.max_distance = max_distance
        self.cls_convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        self.reg_convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        self.gfl_cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.gfl_reg = nn.Conv2d(channels, 4 * (max_distance + 1), 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in anchors.strides)
        init_conv(self, std=0.01)
        init_conv(self.gfl_cls, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"gfl_cls.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> GFLOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits and logits of distances per level."""
        logits = [self.gfl_cls(self.cls_convs(m)) for m in maps]
        sides = [scale(self.gfl_reg(self.reg_convs(m))).float() for m, scale in zip(maps, self.scales)]
        return logits, sides

    def loss(self, outputs: GFLOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox`` and ``loss_dfl``."""
        anchors, strides = self._anchors(outputs[0])
        objects = pad_objects(batch.samples, anchors.device)
        sizes = map_sizes(outputs[0])
        covered = self.anchors.covered(sizes, image_sizes(batch, anchors.device))
        assigned = self.assigner(anchors, [h * w for h, w in sizes], objects, covered)
        targets, labels = objects.of(assigned.objects)
        image, prior = assigned.positive.nonzero(as_tuple=True)
        logits = flatten_levels(outputs[0], self.num_classes)
        sides = flatten_levels(outputs[1], 4 * (self.max_distance + 1))[image, prior]
        # Everything is measured in strides from here on.
        centres = box_centres(anchors[prior]) / strides[prior, None]
        target = targets[image, prior] / strides[prior, None]
        boxes = distances_to_boxes(centres, expected_distances(sides))
        iou = elementwise_iou(boxes.detach(), target)
        confidence = logits[image, prior].detach().float().sigmoid().amax(dim=1)
        quality = torch.zeros_like(logits, dtype=torch.float32)
        quality[image, prior, labels[image, prior]] = iou
        used = assigned.positive | assigned.negative
        count = count_positives(assigned.positive)
        total = normalizer(confidence.sum())
        distances = boxes_to_distances(centres, target).clamp(0, self.max_distance - _BELOW_TOP)
        return {
            "loss_cls": self.cls_loss(logits[used], quality[used], avg_factor=count),
            "loss_bbox": self.box_loss(boxes, target, weight=confidence, avg_factor=total),
            "loss_dfl": self.distribution_loss(
                sides.reshape(-1, self.max_distance + 1),
                distances.flatten(),
                weight=confidence.repeat_interleave(4),
                avg_factor=4 * total,
            ),
        }

    def predict(self, outputs: GFLOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels, scored by the quality of their class."""
        sizes = image_sizes(batch, outputs[0][0].device)
        grid = self.anchors.grid(map_sizes(outputs[0]), sizes.device)
        levels = []
        for anchors, stride, cls, reg in zip(grid, self.strides, *outputs):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            boxes = Encoded(
                lambda centres, sides, s=stride: distances_to_boxes(centres, expected_distances(sides) * s),
                box_centres(anchors),
                flatten_levels([reg], 4 * (self.max_distance + 1)),
            )
            levels.append(self.selection.candidates(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)

    def _anchors(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """All anchors (P, 4) and the stride (P,) of each."""
        grid = self.anchors.grid(map_sizes(maps), maps[0].device)
        strides = [a.new_full((len(a),), float(s)) for a, s in zip(grid, self.strides)]
        return torch.cat(grid), torch.cat(strides)
