"""YOLOF (Chen et al., You Only Look One-level Feature, 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.layers import NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import UniformAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import DEFAULT_SELECTION, Encoded, Selection, image_sizes
from omma_detection.models.heads.targets import count_positives, flatten_levels
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector

YOLOFOutputs = tuple[list[Tensor], list[Tensor]]
"""Of the one level: class logits (N, A * C, H, W) and box deltas (N, A * 4, H, W)."""


@register
class YOLOF(SingleStageDetector):
    """One level of features, with wide fields of view, in place of a pyramid.

    Args:
        backbone: image to feature map.
        neck: feature map to feature map.
        bbox_head: the anchor head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: YOLOFHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class YOLOFHead(DenseHead):
    """Two towers, then class scores, an objectness that lowers them, and deltas for A anchors per position.

    Args:
        in_channels: channels of the level and of the towers.
        num_cls_convs: convolutions in the tower of classes.
        num_reg_convs: convolutions in that of boxes.
        num_classes: C.
        anchors: the priors, of one level.
        coder: box coder.
        assigner: which anchors are objects.
        cls_loss: over all anchors, labels with C as background.
        box_loss: on the boxes of positives.
        norm: kind of norm in the towers.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 512,
        num_cls_convs: int = 2,
        num_reg_convs: int = 4,
        num_classes: int,
        anchors: AnchorGenerator,
        coder: DeltaCoder,
        assigner: UniformAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        norm: NormKind = "bn",
        selection: Selection = DEFAULT_SELECTION,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = num_classes
        self.anchors, self.coder, self.assigner, self.selection = anchors, coder, assigner, selection
        self.cls_loss, self.box_loss = cls_loss, box_loss
        count = anchors.per_position
        self.cls_subnet = conv_tower(in_channels, in_channels, num_cls_convs, norm=norm)
        self.bbox_subnet = conv_tower(in_channels, in_channels, num_reg_convs, norm=norm)
        self.cls_score = nn.Conv2d(in_channels, count * num_classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(in_channels, count * 4, 3, padding=1)
        self.object_pred = nn.Conv2d(in_channels, count, 3, padding=1)
        init_conv(self, std=0.01)
        init_conv(self.cls_score, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        rows = ClassRows(repeats=self.anchors.per_position)
        return {f"cls_score.{name}": rows for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> YOLOFOutputs:
        """The level (N, C_in, H, W) -> class logits and deltas."""
        outputs = ([], [])
        for m in maps:
            logits = self.cls_score(self.cls_subnet(m)).float()
            regions = self.bbox_subnet(m)
            objectness = self.object_pred(regions).float().repeat_interleave(self.num_classes, dim=1)
            # The logit of the product of both probabilities, were they of one sigmoid each.
            outputs[0].append(logits + objectness - F.softplus(torch.logaddexp(logits, objectness)))
            outputs[1].append(self.bbox_pred(regions))
        return outputs

    def loss(self, outputs: YOLOFOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``."""
        sizes = map_sizes(outputs[0])
        anchors = torch.cat(self.anchors.grid(sizes, outputs[0][0].device))
        logits = flatten_levels(outputs[0], self.num_classes)
        boxes = self.coder.decode(anchors, flatten_levels(outputs[1], 4))
        objects = pad_objects(batch.samples, anchors.device)
        valid = self.anchors.covered(sizes, image_sizes(batch, anchors.device))
        assigned, pairs = self.assigner(anchors, boxes.detach(), objects, valid)
        labels = torch.where(assigned.positive, objects.of(assigned.objects)[1], self.num_classes)
        used = assigned.positive | assigned.negative
        count = count_positives(assigned.positive)
        found, target = boxes[pairs.images, pairs.priors], objects.boxes[pairs.images, pairs.objects]
        return {
            "loss_cls": self.cls_loss(logits[used], labels[used], avg_factor=count),
            "loss_bbox": self.box_loss(found, target, avg_factor=count),
        }

    def predict(self, outputs: YOLOFOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        sizes = image_sizes(batch, outputs[0][0].device)
        grid = self.anchors.grid(map_sizes(outputs[0]), sizes.device)
        levels = []
        for anchors, cls, reg in zip(grid, *outputs):
            scores = flatten_levels([cls], self.num_classes).sigmoid()
            boxes = Encoded(self.coder.decode, anchors, flatten_levels([reg], 4))
            levels.append(self.selection.candidates(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)
