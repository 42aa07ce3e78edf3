"""YOLOX (Ge et al., YOLOX: Exceeding YOLO Series in 2021, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import YOLO_NORM, NormKind, prior_bias, yolo_conv
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import SimOTAAssigner
from omma_detection.models.coders.delta import clip_boxes
from omma_detection.models.heads.dense import DenseHead, map_sizes
from omma_detection.models.heads.detections import Candidates, Selection, image_sizes, top_candidates
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import PointGenerator
from omma_detection.models.single_stage import SingleStageDetector

_LEAST_RATIO = 1e-8
"""Least size of an object in strides, so that its logarithm is finite."""
# Published YOLOX keeps all boxes that survive suppression, and doesn't cut them.
YOLOX_SELECTION = Selection(
    score_threshold=0.01, pre_nms=100_000, nms_iou=0.65, max_per_image=100_000, clip=False
)


@register
class YOLOX(SingleStageDetector):
    """CSPDarknet, its path aggregation, and a decoupled head without anchors.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    bbox_head: YOLOXHead

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: YOLOXHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)

    def at_epoch(self, epoch: int) -> None:
        """In its last epochs the head trains with the L1 loss too."""
        start = self.bbox_head.l1_from_epoch
        self.bbox_head.use_l1 = start is not None and epoch >= start


class YOLOXOutputs(NamedTuple):
    """Raw maps per level."""

    logits: list[Tensor]
    """(N, C, H, W)"""
    boxes: list[Tensor]
    """(N, 4, H, W) shift of the centre in strides, log width and height in strides."""
    objectness: list[Tensor]
    """(N, 1, H, W) logits."""


@register
class YOLOXHead(DenseHead):
    """On each level two towers, then class scores from one, and a box and objectness from the other.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        strides: input pixels per position, one per level.
        assigner: which positions are objects.
        cls_loss: over positives, targets the IoU of the predicted box for the object's class.
        box_loss: on the boxes of positives.
        objectness_loss: over all positions.
        l1_loss: on the raw box values of positives, in the last epochs.
        l1_from_epoch: epochs after which it counts; null: never.
        depthwise: separable convolutions in the towers (YOLOX-nano).
        norm: kind of norm in the towers.
        selection: which boxes become predictions: each position predicts its best class alone.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        num_convs: int = 2,
        num_classes: int,
        strides: tuple[int, ...] = (8, 16, 32),
        assigner: SimOTAAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        objectness_loss: Loss,
        l1_loss: Loss,
        l1_from_epoch: int | None = None,
        depthwise: bool = False,
        norm: NormKind = YOLO_NORM,
        selection: Selection = YOLOX_SELECTION,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = strides
        self.num_classes = num_classes
        self.corners = PointGenerator(strides=strides, offset=0)
        self.assigner, self.selection = assigner, selection
        self.cls_loss, self.box_loss = cls_loss, box_loss
        self.objectness_loss, self.l1_loss = objectness_loss, l1_loss
        self.l1_from_epoch, self.use_l1 = l1_from_epoch, l1_from_epoch == 0
        widths = (in_channels, *(channels,) * num_convs)[:num_convs]

        def towers() -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(*(yolo_conv(a, channels, 3, depthwise=depthwise, norm=norm) for a in widths))
                for _ in strides
            )

        self.multi_level_cls_convs, self.multi_level_reg_convs = towers(), towers()
        self.multi_level_conv_cls = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in strides)
        self.multi_level_conv_reg = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in strides)
        self.multi_level_conv_obj = nn.ModuleList(nn.Conv2d(channels, 1, 1) for _ in strides)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
        for last in (*self.multi_level_conv_cls, *self.multi_level_conv_obj):
            nn.init.constant_(last.get_parameter("bias"), prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {
            f"multi_level_conv_cls.{level}.{name}": ClassRows()
            for level in range(len(self.strides))
            for name in ("weight", "bias")
        }

    def forward(self, maps: Sequence[Tensor]) -> YOLOXOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits, raw boxes and objectness per level."""
        outputs = YOLOXOutputs([], [], [])
        for i, m in enumerate(maps):
            cls, reg = self.multi_level_cls_convs[i](m), self.multi_level_reg_convs[i](m)
            outputs.logits.append(self.multi_level_conv_cls[i](cls))
            outputs.boxes.append(self.multi_level_conv_reg[i](reg).float())
            outputs.objectness.append(self.multi_level_conv_obj[i](reg))
        return outputs

    def loss(self, outputs: YOLOXOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox``, ``loss_obj``, and in the last epochs ``loss_l1``."""
        corners, strides = self.corners.placed(map_sizes(outputs.logits), outputs.logits[0].device)
        logits = flatten_levels(outputs.logits, self.num_classes)
        raw = flatten_levels(outputs.boxes, 4)
        objectness = flatten_levels(outputs.objectness, 1)[..., 0]
        boxes = _decode(corners, strides, raw)
        objects = pad_objects(batch.samples, corners.device)
        scores = logits.detach().float().sigmoid() * objectness.detach().float().sigmoid()[..., None]
        # Cells find their objects by their middles, but boxes are measured from their corners.
        middles = corners + strides[:, None] / 2
        assigned, overlap = self.assigner(middles, strides, scores, boxes.detach(), objects)
        image, prior = assigned.positive.nonzero(as_tuple=True)
        targets, labels = (value[image, prior] for value in objects.of(assigned.objects))
        quality = torch.zeros(len(labels), self.num_classes, device=labels.device)
        quality.scatter_(1, labels[:, None], overlap[image, prior][:, None])
        count = normalizer(assigned.positive.sum())
        losses = {
            "loss_cls": self.cls_loss(logits[image, prior], quality, avg_factor=count),
            "loss_bbox": self.box_loss(boxes[image, prior], targets, avg_factor=count),
            "loss_obj": self.objectness_loss(objectness, assigned.positive, avg_factor=count),
        }
        if self.use_l1:
            wanted = _encode(corners[prior], strides[prior], targets)
            losses["loss_l1"] = self.l1_loss(raw[image, prior], wanted, avg_factor=count)
        return losses

    def predict(self, outputs: YOLOXOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels, scored by class probability times objectness."""
        corners, strides = self.corners.placed(map_sizes(outputs.logits), outputs.logits[0].device)
        scores, labels = flatten_levels(outputs.logits, self.num_classes).float().sigmoid().max(dim=2)
        scores = scores * flatten_levels(outputs.objectness, 1)[..., 0].float().sigmoid()
        raw = flatten_levels(outputs.boxes, 4)
        image, position, _, score = top_candidates(
            scores[..., None], self.selection.score_threshold, self.selection.pre_nms
        )
        boxes = _decode(corners[position], strides[position], raw[image, position])
        if self.selection.clip:
            boxes = clip_boxes(boxes, image_sizes(batch, boxes.device)[image])
        found = Candidates(boxes, score, labels[image, position], image)
        return self.selection.predictions([found], batch)


def _decode(corners: Tensor, strides: Tensor, raw: Tensor) -> Tensor:
    """xyxy boxes (..., P, 4) in pixels of raw values (..., P, 4), corners (P, 2) and strides (P,)."""
    raw = raw.float()
    centre = raw[..., :2] * strides[:, None] + corners
    half = raw[..., 2:].exp() * strides[:, None] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def _encode(corners: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
    """The raw values (P, 4) of boxes (P, 4)."""
    shift = (box_centres(boxes) - corners) / strides[:, None]
    size = (boxes[:, 2:] - boxes[:, :2]) / strides[:, None]
    return torch.cat([shift, (size + _LEAST_RATIO).log()], dim=1)
