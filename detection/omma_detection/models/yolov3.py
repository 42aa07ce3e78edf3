"""YOLOv3 (Redmon and Farhadi, YOLOv3: An Incremental Improvement, 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import GridAssigner
from omma_detection.models.coders import boxes_to_cells, cells_to_boxes
from omma_detection.models.heads.dense import DenseHead, map_sizes
from omma_detection.models.heads.detections import Encoded, Selection, image_sizes
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import CellAnchors
from omma_detection.models.single_stage import SingleStageDetector

_BOX_AND_OBJECT = 5
"""Numbers of each anchor beside its class logits: box and objectness."""
_USUAL_OBJECTS, _USUAL_SIDE = 8, 608
"""Positives of each level, and pixels of an image, that objectness starts from."""
# Published YOLOv3 doesn't cut its boxes.
YOLOV3_SELECTION = Selection(score_threshold=0.05, pre_nms=1000, nms_iou=0.45, max_per_image=100, clip=False)


@register
class YOLOV3(SingleStageDetector):
    """Darknet, its path from coarse to fine, and a head of anchors that belong to cells.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: YOLOV3Head, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class YOLOV3Head(DenseHead):
    """A 3x3 convolution on each level, then box, objectness and classes of its anchors.

    Parts are numbered from coarse to fine, levels run from fine to coarse.

    Args:
        in_channels: channels of each level, fine to coarse.
        channels: width of the 3x3 convolution of each level.
        num_classes: C.
        anchors: the priors.
        assigner: which anchors are objects.
        cls_loss: on the class logits of positives, one yes or no for each class. It and the next ones are
            summed over a batch and not averaged, as published.
        objectness_loss: over positives and negatives.
        place_loss: on the logits of the centre's place in its cell, of positives.
        size_loss: on the log ratios of the sizes, of positives.
        min_objectness: least objectness of a prediction.
        norm: kind of norm.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        channels: tuple[int, ...],
        num_classes: int,
        anchors: CellAnchors,
        assigner: GridAssigner,
        cls_loss: Loss,
        objectness_loss: Loss,
        place_loss: Loss,
        size_loss: Loss,
        min_objectness: float = 0.005,
        norm: NormKind = "bn",
        selection: Selection = YOLOV3_SELECTION,
    ) -> None:
        super().__init__()
        if not len(in_channels) == len(channels) == len(anchors.strides):
            raise ValueError(
                f"in_channels, channels and anchors must have as many levels, got {len(in_channels)}, "
                f"{len(channels)} and {len(anchors.strides)}"
            )
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = num_classes
        self.anchors, self.assigner, self.selection = anchors, assigner, selection
        self.cls_loss, self.objectness_loss = cls_loss, objectness_loss
        self.place_loss, self.size_loss = place_loss, size_loss
        self.min_objectness = min_objectness
        self.width = _BOX_AND_OBJECT + num_classes
        levels = list(zip(in_channels, channels, anchors.per_position))[::-1]
        self.convs_bridge = nn.ModuleList(
            ConvNormAct(a, b, 3, padding=1, norm=norm, act="leaky_relu") for a, b, _ in levels
        )
        self.convs_pred = nn.ModuleList(nn.Conv2d(b, count * self.width, 1) for _, b, count in levels)
        init_conv(self.convs_pred, std=0.01)
        for last, stride in zip(self.convs_pred, self.strides[::-1]):
            bias = last.get_parameter("bias").data.view(-1, self.width)
            bias[:, 4] = prior_bias(_USUAL_OBJECTS / (_USUAL_SIDE / stride) ** 2)
            bias[:, _BOX_AND_OBJECT:] = prior_bias(0.01)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {
            f"convs_pred.{level}.{name}": ClassRows(repeats=count, before=_BOX_AND_OBJECT)
            for level, count in enumerate(self.anchors.per_position[::-1])
            for name in ("weight", "bias")
        }

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Levels (N, in_channels[i], H_i, W_i) -> (N, A * (5 + C), H_i, W_i)."""
        return [
            last(bridge(m)) for m, bridge, last in zip(maps, self.convs_bridge[::-1], self.convs_pred[::-1])
        ]

    def loss(self, outputs: list[Tensor], batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_conf``, ``loss_xy`` and ``loss_wh``."""
        sizes = map_sizes(outputs)
        grid = self.anchors.grid(sizes, outputs[0].device)
        anchors = torch.cat(grid)
        strides = torch.cat([a.new_full((len(a),), float(s)) for a, s in zip(grid, self.strides)])
        raw = flatten_levels(outputs, self.width)
        objects = pad_objects(batch.samples, anchors.device)
        centres = box_centres(objects.boxes)
        occupied = self.anchors.occupied(sizes, centres, objects.real)
        assigned = self.assigner(anchors, objects, occupied)
        image, prior = assigned.positive.nonzero(as_tuple=True)
        boxes, labels = (value[image, prior] for value in objects.of(assigned.objects))
        target = boxes_to_cells(anchors[prior], boxes, strides[prior])
        classes = torch.arange(self.num_classes, device=labels.device) == labels[:, None]
        used = assigned.positive | assigned.negative
        found = raw[image, prior]
        return {
            "loss_cls": self.cls_loss(found[:, _BOX_AND_OBJECT:], classes, avg_factor=1),
            "loss_conf": self.objectness_loss(raw[used][:, 4], assigned.positive[used], avg_factor=1),
            "loss_xy": self.place_loss(found[:, :2], target[:, :2], avg_factor=1),
            "loss_wh": self.size_loss(found[:, 2:4], target[:, 2:], avg_factor=1),
        }

    def predict(self, outputs: list[Tensor], batch: Batch) -> list[Prediction]:
        """Boxes in original pixels, scored by class probability times objectness."""
        grid = self.anchors.grid(map_sizes(outputs), outputs[0].device)
        anchors = torch.cat(grid)
        strides = torch.cat([a.new_full((len(a),), float(s)) for a, s in zip(grid, self.strides)])
        raw = flatten_levels(outputs, self.width).float()
        objectness = raw[..., 4].sigmoid()
        sure = (objectness >= self.min_objectness)[..., None]
        scores = raw[..., _BOX_AND_OBJECT:].sigmoid().where(sure, 0)
        cells = torch.cat([anchors, strides[:, None]], dim=1)
        boxes = Encoded(lambda c, logits: cells_to_boxes(c[:, :4], logits, c[:, 4]), cells, raw[..., :4])
        sizes = image_sizes(batch, raw.device)
        found = self.selection.candidates(scores, boxes, sizes, objectness)
        return self.selection.predictions([found], batch)
