"""FoveaBox (Kong et al., FoveaBox: Beyond Anchor-based Object Detector, 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, GuidedDeformConv2d, NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders import boxes_to_distances, distances_to_boxes
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import Selection, image_sizes
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import Objects, pad_objects
from omma_detection.models.priors import PointGenerator
from omma_detection.models.single_stage import SingleStageDetector

FoveaOutputs = tuple[list[Tensor], list[Tensor]]
"""Per level: class logits (N, C, H, W), and (N, 4, H, W) log distances in the level's edge."""
_MOST = 16.0
"""Largest distance that is learned, in edges, and one over the smallest."""
_DEFORM_GROUPS = 4
_SELECTION = Selection(nms_iou=0.5)


@register
class FoveaBox(SingleStageDetector):
    """A pyramid and one head that sees the middle of objects as positive.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: FoveaHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class FoveaHead(DenseHead):
    """Two towers, then class scores and log distances to the box's sides at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        points: the priors.
        edges: what distances are measured in, one per level, pixels.
        scale_ranges: smallest and largest side (root of the area) that each level is in charge of, pixels.
        fovea: side of the region of an object in which positions are positive, as a share of the object's.
        align: read the features of classes where the predicted box's shape says, in place of a tower.
        cls_loss: over all positions, labels with C as background.
        box_loss: on the log distances of positives.
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
        points: PointGenerator,
        edges: tuple[float, ...] = (16, 32, 64, 128, 256),
        scale_ranges: tuple[tuple[float, float], ...],
        fovea: float = 0.4,
        align: bool = False,
        cls_loss: Loss,
        box_loss: Loss,
        norm: NormKind | None = None,
        selection: Selection = _SELECTION,
    ) -> None:
        super().__init__()
        if not len(edges) == len(scale_ranges) == len(points.strides):
            raise ValueError(
                f"{len(edges)} edges and {len(scale_ranges)} scale_ranges for {len(points.strides)} strides"
            )
        self.in_channels = in_channels
        self.strides = points.strides
        self.num_classes = num_classes
        self.points, self.edges, self.scale_ranges = points, edges, scale_ranges
        self.fovea, self.align, self.selection = fovea, align, selection
        self.cls_loss, self.box_loss = cls_loss, box_loss
        self.reg_convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        self.fovea_reg = nn.Conv2d(channels, 4, 3, padding=1)
        width = channels * 4 if align else channels
        if align:
            self.feature_adaption = FeatureAlign(in_channels, channels)
            self.cls_convs = nn.Sequential(
                ConvNormAct(channels, width, 3, padding=1, norm=norm), ConvNormAct(width, width, 1, norm=norm)
            )
        else:
            self.cls_convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        self.fovea_cls = nn.Conv2d(width, num_classes, 3, padding=1)
        init_conv(self, std=0.01)
        init_conv(self.fovea_cls, std=0.01, bias=prior_bias(0.01))
        if align:
            nn.init.normal_(self.feature_adaption.conv_offset.weight, std=0.1)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"fovea_cls.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> FoveaOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits and log distances per level."""
        sides = [self.fovea_reg(self.reg_convs(m)).float() for m in maps]
        if self.align:
            maps = [self.feature_adaption(m, side.exp().to(m.dtype)) for m, side in zip(maps, sides)]
        return [self.fovea_cls(self.cls_convs(m)) for m in maps], sides

    def loss(self, outputs: FoveaOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``."""
        sizes = map_sizes(outputs[0])
        grid = self.points.grid(sizes, outputs[0][0].device)
        points = torch.cat(grid)
        edges = torch.cat([g.new_full((len(g),), float(e)) for g, e in zip(grid, self.edges)])
        objects = pad_objects(batch.samples, points.device)
        owner = torch.cat(
            [self._owners(size, level, objects, points.device) for level, size in enumerate(sizes)], dim=1
        )
        boxes, labels = objects.of(owner)
        image, point = (owner >= 0).nonzero(as_tuple=True)
        distances = boxes_to_distances(points[point], boxes[image, point]) / edges[point, None]
        target = distances.clamp(1 / _MOST, _MOST).log()
        logits = flatten_levels(outputs[0], self.num_classes)
        labels = torch.where(owner >= 0, labels, self.num_classes)
        positives = torch.as_tensor(len(image), device=points.device)
        cls_count, count = normalizer(positives + len(batch)), normalizer(positives)
        return {
            "loss_cls": self.cls_loss(logits.flatten(0, 1), labels.flatten(), avg_factor=cls_count),
            "loss_bbox": self.box_loss(flatten_levels(outputs[1], 4)[image, point], target, avg_factor=count),
        }

    @torch.no_grad()
    def _owners(self, size: tuple[int, int], level: int, objects: Objects, device: torch.device) -> Tensor:
        """(N, H * W) int64: for each position of a level the smallest object whose middle it is in, or -1."""
        height, width = size
        low, high = self.scale_ranges[level]
        side = objects.areas.sqrt()
        hit = (side >= low) & (side <= high) & objects.real
        boxes = objects.boxes / self.strides[level]
        centre = box_centres(boxes)
        half = (boxes[..., 2:] - boxes[..., :2]) / 2 * self.fovea
        limit = torch.tensor([width - 1, height - 1], device=device)
        first = (centre - half - 0.5).ceil().clamp(min=0).minimum(limit)[:, :, None]
        last = (centre + half - 0.5).floor().clamp(min=0).minimum(limit)[:, :, None]
        y, x = torch.meshgrid(
            torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
        )
        cells = torch.stack([x, y], dim=-1).reshape(-1, 2)
        inside = ((cells >= first) & (cells <= last)).all(dim=-1) & hit[..., None]  # (N, G, H * W)
        area, owner = torch.where(inside, objects.areas[..., None], math.inf).min(dim=1)
        return torch.where(area.isfinite(), owner, -1)

    def predict(self, outputs: FoveaOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        sizes = image_sizes(batch, outputs[0][0].device)
        levels = []
        grid = self.points.grid(map_sizes(outputs[0]), sizes.device)
        for points, edge, cls, reg in zip(grid, self.edges, *outputs):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            boxes = distances_to_boxes(points, flatten_levels([reg], 4).exp() * edge)
            levels.append(self.selection.candidates(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)


class FeatureAlign(nn.Module):
    """A deformable convolution whose offsets follow from the shape of the predicted box.

    Args:
        in_channels: C.
        out_channels: C'.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(4, _DEFORM_GROUPS * 18, 1, bias=False)
        self.conv_adaption = GuidedDeformConv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        """(N, C, H, W) and the boxes' distances (N, 4, H, W) -> (N, C', H, W)."""
        return self.conv_adaption(x, self.conv_offset(shape)).relu()
