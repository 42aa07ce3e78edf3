"""TOOD (Feng et al., Task-aligned One-stage Object Detection, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormKind, Scale, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres, deform_conv2d
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import ATSSAssigner, TaskAlignedAssigner
from omma_detection.models.coders import (
    DeltaCoder,
    boxes_to_distances,
    center_quality,
    distances_to_boxes,
)
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import DEFAULT_SELECTION, Selection, image_sizes
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import Objects, pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector

TOODOutputs = tuple[list[Tensor], list[Tensor]]
"""Per level: class probabilities (N, C, H, W), and boxes (N, 4, H, W) xyxy in strides."""


@register
class TOOD(SingleStageDetector):
    """A pyramid and one head whose two tasks are made to choose the same positions.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    bbox_head: TOODHead

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: TOODHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)

    def at_epoch(self, epoch: int) -> None:
        """After its first epochs the head chooses positives by its own predictions."""
        self.bbox_head.aligned = epoch >= self.bbox_head.initial_epochs


@register
class TOODHead(DenseHead):
    """One tower for both tasks, of whose layers each task takes its own mixture.

    Args:
        in_channels: channels of every level.
        channels: width of the tower.
        num_convs: convolutions in the tower.
        num_classes: C.
        anchors: the priors, one per position.
        coder: box coder on the anchors; null: distances from their centres.
        initial_assigner: which anchors are objects in the first epochs...
        initial_epochs: ...of which there are so many.
        assigner: which are objects afterwards.
        initial_loss: of the class probabilities in the first epochs, labels with C as background.
        cls_loss: afterwards, targets the alignment for the object's class.
        box_loss: on the boxes of positives, weighted by centre-ness and afterwards by alignment.
        num_deform: so many convolutions of the tower, the first ones, are deformable, modulated.
        norm: kind of norm in the tower.
        selection: which boxes become predictions.

    Raises:
        ValueError: there is more than one anchor per position.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 6,
        num_classes: int,
        anchors: AnchorGenerator,
        coder: DeltaCoder | None = None,
        initial_assigner: ATSSAssigner,
        initial_epochs: int = 4,
        assigner: TaskAlignedAssigner,
        initial_loss: Loss,
        cls_loss: Loss,
        box_loss: Loss,
        num_deform: int = 0,
        norm: NormKind | None = "gn",
        selection: Selection = DEFAULT_SELECTION,
    ) -> None:
        super().__init__()
        if anchors.per_position != 1:
            raise ValueError(f"anchors must be one per position, got {anchors.per_position}")
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = num_classes
        self.anchors, self.coder, self.selection = anchors, coder, selection
        self.initial_assigner, self.assigner = initial_assigner, assigner
        self.initial_epochs, self.aligned = initial_epochs, initial_epochs == 0
        self.initial_loss, self.cls_loss, self.box_loss = initial_loss, cls_loss, box_loss
        deform: dict[int, Literal[1, 2]] = dict.fromkeys(range(num_deform), 2)
        self.inter_convs = conv_tower(
            in_channels, channels, num_convs, norm=norm, deform=deform, deform_groups=4
        )
        self.cls_decomp = TaskDecomposition(channels, num_convs, norm=norm)
        self.reg_decomp = TaskDecomposition(channels, num_convs, norm=norm)
        self.tood_cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.tood_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.cls_prob_module = _two_convs(channels * num_convs, channels // 4, 1)
        self.reg_offset_module = _two_convs(channels * num_convs, channels // 4, 8)
        self.scales = nn.ModuleList(Scale() for _ in anchors.strides)
        init_conv(self, std=0.01)
        for part in (self.cls_decomp.layer_attention, self.reg_decomp.layer_attention):
            init_conv(part, std=0.001)
        init_conv(self.reg_offset_module, std=0.001)
        for last in (self.tood_cls, self.cls_prob_module[-1]):
            init_conv(last, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"tood_cls.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> TOODOutputs:
        """Levels (N, C_in, H_i, W_i) -> class probabilities and boxes in strides per level."""
        grid = self.anchors.grid(map_sizes(maps), maps[0].device)
        outputs = ([], [])
        for m, anchors, stride, scale in zip(maps, grid, self.strides, self.scales):
            layers = []
            for conv in self.inter_convs:
                m = conv(m)
                layers.append(m)
            both = torch.cat(layers, dim=1)
            mean_of_map = both.mean(dim=(2, 3), keepdim=True)
            logits = self.tood_cls(self.cls_decomp(both, mean_of_map)).float()
            sides = self.tood_reg(self.reg_decomp(both, mean_of_map)).float()
            outputs[0].append((logits.sigmoid() * self.cls_prob_module(both).float().sigmoid()).sqrt())
            boxes = self._boxes(sides, scale, anchors / stride)
            outputs[1].append(move_sides(boxes, self.reg_offset_module(both).float()))
        return outputs

    def _boxes(self, sides: Tensor, scale: nn.Module, anchors: Tensor) -> Tensor:
        """Boxes (N, 4, H, W) in strides; the anchors (H * W, 4) are in strides too."""
        sides = scale(sides.exp() if self.coder is None else sides)
        flat = flatten_levels([sides], 4)
        if self.coder is None:
            boxes = distances_to_boxes(box_centres(anchors), flat)
        else:
            boxes = self.coder.decode(anchors, flat)
        return boxes.transpose(1, 2).unflatten(2, sides.shape[2:]).contiguous()

    def loss(self, outputs: TOODOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``."""
        sizes = map_sizes(outputs[0])
        grid = self.anchors.grid(sizes, outputs[0][0].device)
        anchors = torch.cat(grid)
        strides = torch.cat([a.new_full((len(a), 1), float(s)) for a, s in zip(grid, self.strides)])
        scores = flatten_levels(outputs[0], self.num_classes)
        boxes = flatten_levels(outputs[1], 4)  # strides
        objects = pad_objects(batch.samples, anchors.device)
        valid = self.anchors.covered(sizes, image_sizes(batch, anchors.device))
        if self.aligned:
            assigned, quality = self.assigner(
                anchors, scores.detach(), boxes.detach() * strides, objects, valid
            )
        else:
            counts = [len(a) for a in grid]
            assigned = self.initial_assigner(anchors, counts, objects, valid)
            quality = assigned.positive.float()
        image, prior = assigned.positive.nonzero(as_tuple=True)
        target = objects.of(assigned.objects)[0][image, prior]
        weight = quality[image, prior]
        if not self.aligned:
            centres = box_centres(anchors[prior])
            weight = center_quality(boxes_to_distances(centres, target))
        box_total = normalizer(weight.sum())
        return {
            "loss_cls": self._loss_of_classes(scores, objects, assigned.objects, quality),
            "loss_bbox": self.box_loss(
                boxes[image, prior], target / strides[prior], weight=weight, avg_factor=box_total
            ),
        }

    def _loss_of_classes(self, scores: Tensor, objects: Objects, assigned: Tensor, quality: Tensor) -> Tensor:
        """Over all positions that have an object or are background; divided by the sum of qualities."""
        total = normalizer(quality.sum())
        used = assigned >= -1
        labels = torch.where(assigned >= 0, objects.of(assigned)[1], self.num_classes)[used]
        if not self.aligned:
            return self.initial_loss(scores[used], labels, avg_factor=total)
        hot = labels[:, None] == torch.arange(self.num_classes, device=labels.device)
        return self.cls_loss(scores[used], hot * quality[used][:, None], avg_factor=total)

    def predict(self, outputs: TOODOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        sizes = image_sizes(batch, outputs[0][0].device)
        levels = []
        for stride, cls, reg in zip(self.strides, *outputs):
            boxes = flatten_levels([reg], 4) * stride
            scores = flatten_levels([cls], self.num_classes)
            levels.append(self.selection.candidates(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)


class TaskDecomposition(nn.Module):
    """A task's own mixture of a tower's layers, weighed by what the whole map looks like.

    Args:
        channels: C, of each layer.
        layers: L.
        norm: kind of norm behind the mixing.
    """

    def __init__(self, channels: int, layers: int, *, norm: NormKind | None) -> None:
        super().__init__()
        self.layers = layers
        hidden = channels // 8
        self.layer_attention = nn.Sequential(
            nn.Conv2d(channels * layers, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, layers, 1),
            nn.Sigmoid(),
        )
        self.reduction_conv = ConvNormAct(channels * layers, channels, 1, norm=norm)

    def forward(self, x: Tensor, mean_of_map: Tensor) -> Tensor:
        """(N, L * C, H, W) and its mean (N, L * C, 1, 1) -> (N, C, H, W)."""
        weight = self.layer_attention(mean_of_map)  # (N, L, 1, 1)
        return self.reduction_conv((x.unflatten(1, (self.layers, -1)) * weight[:, :, None]).flatten(1, 2))


def move_sides(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Each side of each box taken from a place nearby, unless the box then had no extent.

    Args:
        boxes: (N, 4, H, W) xyxy.
        offsets: (N, 8, H, W) (y, x) for each side, positions of the map.
    """
    weight = boxes.new_ones(4, 1, 1, 1)
    moved = deform_conv2d(boxes, offsets, weight)
    wrong = (moved[:, :2] > moved[:, 2:]).any(dim=1, keepdim=True)
    return torch.where(wrong, boxes, moved)


def _two_convs(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, out_channels, 3, padding=1),
    )
