"""RepPoints (Yang et al., RepPoints: Point Set Representation for Object Detection, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import GuidedDeformConv2d, NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import MaxIoUAssigner, NearestPointAssigner
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import Selection, image_sizes
from omma_detection.models.heads.taps import kernel_taps, scale_gradient
from omma_detection.models.heads.targets import count_positives, flatten_levels, match
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import PointGenerator
from omma_detection.models.single_stage import SingleStageDetector

_KERNEL = 3
_MOMENT_GRADIENT = 0.01
"""Share of the gradient that reaches the moments' exponents."""
_SELECTION = Selection(nms_iou=0.5)


@register
class RepPoints(SingleStageDetector):
    """A pyramid and one head that sees an object as nine points.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: RepPointsHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


class RepPointsOutputs(NamedTuple):
    """Raw maps per level; places and boxes are measured from each position, in strides."""

    logits: list[Tensor]
    """(N, C, H, W)"""
    boxes: list[Tensor]
    """(N, 4, H, W) xyxy, of the refined points."""
    first: list[Tensor]
    """(N, 4, H, W) xyxy, of the first points."""


@register
class RepPointsHead(DenseHead):
    """Two towers, nine first points at every position, then classes and refined points from what is there.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        point_channels: width of what is read at the points.
        num_convs: convolutions in each tower.
        num_classes: C.
        points: the priors.
        first_assigner: which positions learn first points.
        assigner: which first boxes are objects.
        cls_loss: over all positions, labels with C as background.
        first_loss: on the first boxes of positives, in units of ``base_scale`` strides.
        refined_loss: on their refined boxes, likewise.
        transform: from points to box: mean and deviation (``moment``), all points' extremes (``minmax``), or
            the first four's (``partial_minmax``).
        base_scale: side of a box of a level, in strides.
        gradient_share: of the gradient that reaches the first points through what is read there.
        norm: kind of norm in the towers.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        point_channels: int = 256,
        num_convs: int = 3,
        num_classes: int,
        points: PointGenerator,
        first_assigner: NearestPointAssigner,
        assigner: MaxIoUAssigner,
        cls_loss: Loss,
        first_loss: Loss,
        refined_loss: Loss,
        transform: Literal["moment", "minmax", "partial_minmax"] = "moment",
        base_scale: float = 4.0,
        gradient_share: float = 0.1,
        norm: NormKind | None = None,
        selection: Selection = _SELECTION,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = points.strides
        self.num_classes = num_classes
        self.points, self.selection = points, selection
        self.first_assigner, self.assigner = first_assigner, assigner
        self.cls_loss, self.first_loss, self.refined_loss = cls_loss, first_loss, refined_loss
        self.transform, self.base_scale, self.gradient_share = transform, base_scale, gradient_share
        self.cls_convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        self.reg_convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        values, pad = 2 * _KERNEL**2, _KERNEL // 2
        self.reppoints_cls_conv = GuidedDeformConv2d(channels, point_channels, _KERNEL, padding=pad)
        self.reppoints_cls_out = nn.Conv2d(point_channels, num_classes, 1)
        self.reppoints_pts_init_conv = nn.Conv2d(channels, point_channels, 3, padding=1)
        self.reppoints_pts_init_out = nn.Conv2d(point_channels, values, 1)
        self.reppoints_pts_refine_conv = GuidedDeformConv2d(channels, point_channels, _KERNEL, padding=pad)
        self.reppoints_pts_refine_out = nn.Conv2d(point_channels, values, 1)
        if transform == "moment":
            self.moment_transfer = nn.Parameter(torch.zeros(2))
        init_conv(self, std=0.01)
        init_conv(self.reppoints_cls_out, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"reppoints_cls_out.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> RepPointsOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits, refined and first boxes per level."""
        outputs = RepPointsOutputs([], [], [])
        for m in maps:
            cls, reg = self.cls_convs(m), self.reg_convs(m)
            first = self.reppoints_pts_init_out(self.reppoints_pts_init_conv(reg).relu())
            offset = scale_gradient(first, self.gradient_share) - kernel_taps(_KERNEL, first)
            refined = self.reppoints_pts_refine_out(self.reppoints_pts_refine_conv(reg, offset).relu())
            outputs.logits.append(self.reppoints_cls_out(self.reppoints_cls_conv(cls, offset).relu()))
            outputs.boxes.append(self.boxes_of(refined + first.detach()))
            outputs.first.append(self.boxes_of(first))
        return outputs

    def boxes_of(self, points: Tensor) -> Tensor:
        """Boxes (N, 4, H, W) xyxy around points (N, 18, H, W), which are (y, x) each."""
        pairs = points.float().unflatten(1, (-1, 2)).flip(2)  # (N, 9, 2, H, W) xy
        if self.transform == "moment":
            exponent = scale_gradient(self.moment_transfer, _MOMENT_GRADIENT)
            half = pairs.std(dim=1) * exponent.exp()[:, None, None]
            centre = pairs.mean(dim=1)
            return torch.cat([centre - half, centre + half], dim=1)
        used = pairs if self.transform == "minmax" else pairs[:, :4]
        return torch.cat([used.amin(dim=1), used.amax(dim=1)], dim=1)

    def loss(self, outputs: RepPointsOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_pts_init`` and ``loss_pts_refine``."""
        sizes = map_sizes(outputs.logits)
        grid = self.points.grid(sizes, outputs.logits[0].device)
        points = torch.cat(grid)
        strides = torch.cat([g.new_full((len(g),), float(s)) for g, s in zip(grid, self.strides)])
        valid = self._covered(points, batch)
        origin = points.repeat(1, 2)
        first = origin + flatten_levels(outputs.first, 4) * strides[:, None]
        refined = origin + flatten_levels(outputs.boxes, 4) * strides[:, None]
        objects = pad_objects(batch.samples, points.device)
        at_first = self.first_assigner(points, strides, objects, valid)
        matched = match(first.detach(), valid, batch.samples, self.assigner)
        positive = matched.positive
        used = positive | matched.negative
        labels = torch.where(positive, matched.labels, self.num_classes)
        first_count = count_positives(at_first.positive)
        count = count_positives(positive)
        unit = self.base_scale * strides[:, None]
        row, point = at_first.positive.nonzero(as_tuple=True)
        first_target = objects.of(at_first.objects)[0][row, point]
        image, prior = positive.nonzero(as_tuple=True)
        logits = flatten_levels(outputs.logits, self.num_classes)
        return {
            "loss_cls": self.cls_loss(logits[used], labels[used], avg_factor=count),
            "loss_pts_init": self.first_loss(
                first[row, point] / unit[point], first_target / unit[point], avg_factor=first_count
            ),
            "loss_pts_refine": self.refined_loss(
                refined[image, prior] / unit[prior],
                matched.boxes[image, prior] / unit[prior],
                avg_factor=count,
            ),
        }

    def _covered(self, points: Tensor, batch: Batch) -> Tensor:
        """(N, P) bool: points that lie in the image."""
        sizes = image_sizes(batch, points.device).flip(1)  # (N, 2) xy
        return (points < sizes[:, None]).all(dim=2)

    def predict(self, outputs: RepPointsOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        sizes = image_sizes(batch, outputs.logits[0].device)
        grid = self.points.grid(map_sizes(outputs.logits), sizes.device)
        levels = []
        for points, stride, cls, reg in zip(grid, self.strides, outputs.logits, outputs.boxes):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            boxes = points.repeat(1, 2) + flatten_levels([reg], 4) * stride
            levels.append(self.selection.candidates(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)
