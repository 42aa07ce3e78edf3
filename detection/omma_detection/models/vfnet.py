"""VFNet (Zhang et al., VarifocalNet: An IoU-aware Dense Object Detector, 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, GuidedDeformConv2d, NormKind, Scale, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres, elementwise_iou
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import ATSSAssigner
from omma_detection.models.coders import distances_to_boxes
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import DEFAULT_SELECTION, Encoded, Selection, image_sizes
from omma_detection.models.heads.taps import kernel_taps, scale_gradient
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector

_LEAST_IOU = 1e-6


@register
class VFNet(SingleStageDetector):
    """A pyramid and one head that looks again at nine points of each box that it found.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: VFNetHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


class VFNetOutputs(NamedTuple):
    """Raw maps per level."""

    logits: list[Tensor]
    """(N, C, H, W)"""
    first: list[Tensor]
    """(N, 4, H, W) left, top, right, bottom of the boxes as first found, input pixels."""
    refined: list[Tensor]
    """(N, 4, H, W), likewise, of the refined ones."""


@register
class VFNetHead(DenseHead):
    """Two towers, a first box at every position, then a refined one and class scores from its star of points.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: the priors, one per position, to choose the positives by; boxes are measured from their
            centres.
        assigner: which anchors are objects.
        cls_loss: over all positions, targets the IoU of the refined box for the object's class.
        first_loss: on the first boxes of positives, weighted by their IoU.
        refined_loss: on their refined boxes, likewise.
        units: pixels that a first distance is measured in, one per level; null: the strides.
        norm: kind of norm in the towers.
        deform_last: the towers' last convolutions are deformable, modulated.
        gradient_share: of the gradient that reaches the first boxes through the star.
        selection: which boxes become predictions.

    Raises:
        ValueError: there is more than one anchor per position, or not one unit for each level.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 3,
        num_classes: int,
        anchors: AnchorGenerator,
        assigner: ATSSAssigner,
        cls_loss: Loss,
        first_loss: Loss,
        refined_loss: Loss,
        units: tuple[float, ...] | None = (64, 128, 256, 512, 1024),
        norm: NormKind | None = "gn",
        deform_last: bool = False,
        gradient_share: float = 0.1,
        selection: Selection = DEFAULT_SELECTION,
    ) -> None:
        super().__init__()
        units = tuple(float(s) for s in anchors.strides) if units is None else units
        if anchors.per_position != 1 or len(units) != len(anchors.strides):
            raise ValueError(
                f"need one anchor per position and one unit for each of {len(anchors.strides)} levels, "
                f"got {anchors.per_position} and {len(units)}"
            )
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = num_classes
        self.anchors, self.assigner, self.units, self.selection = anchors, assigner, units, selection
        self.cls_loss, self.first_loss, self.refined_loss = cls_loss, first_loss, refined_loss
        self.gradient_share = gradient_share
        deform: dict[int, Literal[1, 2]] | None = {num_convs - 1: 2} if deform_last else None
        self.cls_convs = conv_tower(in_channels, channels, num_convs, norm=norm, deform=deform)
        self.reg_convs = conv_tower(in_channels, channels, num_convs, norm=norm, deform=deform)
        self.vfnet_reg_conv = ConvNormAct(channels, channels, 3, padding=1, norm=norm)
        self.vfnet_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in anchors.strides)
        self.vfnet_reg_refine_dconv = GuidedDeformConv2d(channels, channels, 3, padding=1)
        self.vfnet_reg_refine = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales_refine = nn.ModuleList(Scale() for _ in anchors.strides)
        self.vfnet_cls_dconv = GuidedDeformConv2d(channels, channels, 3, padding=1)
        self.vfnet_cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        init_conv(self, std=0.01)
        init_conv(self.vfnet_cls, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"vfnet_cls.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> VFNetOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits, first and refined distances per level."""
        outputs = VFNetOutputs([], [], [])
        for m, stride, unit, scale, rescale in zip(
            maps, self.strides, self.units, self.scales, self.scales_refine
        ):
            cls, reg = self.cls_convs(m), self.reg_convs(m)
            first = scale(self.vfnet_reg(self.vfnet_reg_conv(reg))).float().exp() * unit
            star = star_offsets(scale_gradient(first, self.gradient_share) / stride).to(reg.dtype)
            hidden = self.vfnet_reg_refine_dconv(reg, star).relu()
            factor = rescale(self.vfnet_reg_refine(hidden)).float().exp()
            outputs.logits.append(self.vfnet_cls(self.vfnet_cls_dconv(cls, star).relu()))
            outputs.first.append(first)
            outputs.refined.append(factor * first.detach())
        return outputs

    def loss(self, outputs: VFNetOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox`` and ``loss_bbox_rf``."""
        sizes = map_sizes(outputs.logits)
        anchors = torch.cat(self.anchors.grid(sizes, outputs.logits[0].device))
        objects = pad_objects(batch.samples, anchors.device)
        covered = self.anchors.covered(sizes, image_sizes(batch, anchors.device))
        assigned = self.assigner(anchors, [h * w for h, w in sizes], objects, covered)
        targets, labels = objects.of(assigned.objects)
        image, prior = assigned.positive.nonzero(as_tuple=True)
        target, centres = targets[image, prior], box_centres(anchors[prior])
        first = distances_to_boxes(centres, flatten_levels(outputs.first, 4)[image, prior])
        refined = distances_to_boxes(centres, flatten_levels(outputs.refined, 4)[image, prior])
        first_iou = elementwise_iou(first.detach(), target).clamp(min=_LEAST_IOU)
        iou = elementwise_iou(refined.detach(), target).clamp(min=_LEAST_IOU)
        logits = flatten_levels(outputs.logits, self.num_classes)
        quality = torch.zeros_like(logits, dtype=torch.float32)
        quality[image, prior, labels[image, prior]] = iou
        count = normalizer(assigned.positive.sum())
        first_total = normalizer(first_iou.sum())
        total = normalizer(iou.sum())
        return {
            "loss_cls": self.cls_loss(logits.flatten(0, 1), quality.flatten(0, 1), avg_factor=count),
            "loss_bbox": self.first_loss(first, target, weight=first_iou, avg_factor=first_total),
            "loss_bbox_rf": self.refined_loss(refined, target, weight=iou, avg_factor=total),
        }

    def predict(self, outputs: VFNetOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels, scored by the quality of their class."""
        sizes = image_sizes(batch, outputs.logits[0].device)
        grid = self.anchors.grid(map_sizes(outputs.logits), sizes.device)
        levels = []
        for anchors, cls, reg in zip(grid, outputs.logits, outputs.refined):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            boxes = Encoded(distances_to_boxes, box_centres(anchors), flatten_levels([reg], 4))
            levels.append(self.selection.candidates(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)


def star_offsets(distances: Tensor) -> Tensor:
    """Offsets (N, 18, H, W) that move a 3x3 kernel's taps onto a box's corners, mid-sides and centre.

    Args:
        distances: (N, 4, H, W) left, top, right, bottom, pixels of the map.
    """
    left, top, right, bottom = distances.unbind(dim=1)
    middle = torch.zeros_like(left)
    points = [(y, x) for y in (-top, middle, bottom) for x in (-left, middle, right)]
    star = torch.stack([value for point in points for value in point], dim=1)
    return star - kernel_taps(3, star)
