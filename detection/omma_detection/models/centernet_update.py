"""CenterNet on a pyramid (Zhou et al., Probabilistic Two-Stage Detection, 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import NormKind, Scale, init_conv, prior_bias
from omma.losses import GaussianFocalLoss, Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders import boxes_to_distances, distances_to_boxes
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import DEFAULT_SELECTION, Encoded, Selection, image_sizes
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import Objects, pad_objects
from omma_detection.models.priors import PointGenerator
from omma_detection.models.single_stage import SingleStageDetector

UpdateOutputs = tuple[list[Tensor], list[Tensor]]
"""Per level: class logits (N, C, H, W) and distances (N, 4, H, W), input pixels."""
_CLAMP = 1e-4
"""Probabilities stay so far from 0 and 1; a heat map below it is 0."""


@register
class CenterNetUpdate(SingleStageDetector):
    """A pyramid and one head of heat maps and distances on all of its levels.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the point head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: CenterNetUpdateHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class CenterNetUpdateHead(DenseHead):
    """Two towers, then a heat map of centres for each class and the distances to a box's sides.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        points: the priors.
        regress_ranges: smallest and largest half diagonal that each level is in charge of, pixels.
        cls_loss: on the heat maps.
        box_loss: on the boxes around centres.
        least_radius: of a peak, pixels.
        least_overlap: IoU of boxes whose centres are nearly right, which says how wide a peak is.
        more_positives: places around a centre that may be positive too...
        more_threshold: ...if their box costs less than this.
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
        regress_ranges: tuple[tuple[float, float], ...],
        cls_loss: GaussianFocalLoss,
        box_loss: Loss,
        least_radius: float = 4.0,
        least_overlap: float = 0.8,
        more_positives: int = 9,
        more_threshold: float = 0.2,
        norm: NormKind | None = "gn",
        selection: Selection = DEFAULT_SELECTION,
    ) -> None:
        super().__init__()
        if len(regress_ranges) != len(points.strides):
            raise ValueError(f"{len(regress_ranges)} regress_ranges for {len(points.strides)} strides")
        self.in_channels = in_channels
        self.strides = points.strides
        self.num_classes = num_classes
        self.points, self.regress_ranges, self.selection = points, regress_ranges, selection
        self.cls_loss, self.box_loss = cls_loss, box_loss
        self.least_radius, self.spread = least_radius, (1 - least_overlap) / (1 + least_overlap)
        self.more_positives, self.more_threshold = more_positives, more_threshold
        self.cls_convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        self.reg_convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        self.conv_cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.conv_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in points.strides)
        init_conv(self, std=0.01)
        init_conv(self.conv_cls, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"conv_cls.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> UpdateOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits and distances per level."""
        outputs = ([], [])
        for m, stride, scale in zip(maps, self.strides, self.scales):
            outputs[0].append(self.conv_cls(self.cls_convs(m)))
            outputs[1].append(scale(self.conv_reg(self.reg_convs(m))).float().relu() * stride)
        return outputs

    def loss(self, outputs: UpdateOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``."""
        sizes = map_sizes(outputs[0])
        grid = self.points.grid(sizes, outputs[0][0].device)
        points = torch.cat(grid)
        strides = torch.cat([g.new_full((len(g),), float(s)) for g, s in zip(grid, self.strides)])
        objects = pad_objects(batch.samples, points.device)
        sides = flatten_levels(outputs[1], 4) / strides[:, None]  # strides
        score = flatten_levels(outputs[0], self.num_classes).float().sigmoid().clamp(_CLAMP, 1 - _CLAMP)
        with torch.no_grad():
            heat, owner = self._targets(points, strides, grid, objects)
            image, place, label = self._more_positives(sides, sizes, objects)
        count = normalizer(torch.as_tensor(len(image), device=points.device))
        negative = self.cls_loss.negatives(score, heat).sum()
        positive = self.cls_loss.positives(score[image, place, label]).sum()
        row, point = (owner >= 0).nonzero(as_tuple=True)
        target = boxes_to_distances(points[point], objects.boxes[row, owner[row, point]])
        origin = torch.zeros_like(points[point])
        found = distances_to_boxes(origin, sides[row, point])
        wanted = distances_to_boxes(origin, target / strides[point, None])
        box_count = normalizer(torch.as_tensor(len(row), device=points.device))
        return {
            "loss_cls": self.cls_loss.loss_weight * (positive + negative) / count,
            "loss_bbox": self.box_loss(found, wanted, avg_factor=box_count),
        }

    def _targets(
        self, points: Tensor, strides: Tensor, grid: Sequence[Tensor], objects: Objects
    ) -> tuple[Tensor, Tensor]:
        """Heat maps (N, P, C), and for each point the object (N, P) whose box it regresses, or -1."""
        centres = box_centres(objects.boxes)[:, :, None]  # (N, G, 1, 2)
        middle = (centres / strides[:, None]).floor() * strides[:, None] + strides[:, None] / 2
        apart = points - middle  # (N, G, P, 2)
        sides = boxes_to_distances(points, objects.boxes[:, :, None])
        reach = (sides[..., :2] + sides[..., 2:]).square().sum(dim=-1).sqrt() / 2
        ranges = torch.cat(
            [points.new_tensor(r).expand(len(g), 2) for r, g in zip(self.regress_ranges, grid)]
        )
        near = (sides.amin(dim=-1) > 0) & (apart.abs() <= strides[:, None]).all(dim=-1)
        near = near & (reach >= ranges[:, 0]) & (reach <= ranges[:, 1]) & objects.real[..., None]
        distance = (points - centres).square().sum(dim=-1).masked_fill((apart == 0).all(dim=-1), 0)
        radius = (2 * self.spread**2 * objects.areas).clamp(min=self.least_radius**2)
        distance = distance / radius[..., None]
        best, owner = distance.masked_fill(~near, math.inf).min(dim=1)
        warmth = (-distance).exp() * objects.real[..., None]
        warmth = warmth * (warmth >= _CLAMP)
        heat = warmth.new_zeros(len(warmth), self.num_classes, len(points))
        heat = heat.scatter_reduce(1, objects.labels[..., None].expand_as(warmth), warmth, "amax")
        return heat.transpose(1, 2), torch.where(best.isfinite(), owner, -1)

    def _more_positives(
        self, sides: Tensor, sizes: Sequence[tuple[int, int]], objects: Objects
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Image, position and class, (K,) each, of the places around centres whose boxes are good."""
        device = sides.device
        strides = torch.tensor(self.strides, device=device, dtype=torch.float32)[:, None]  # (L, 1)
        shape = torch.tensor([(w, h) for h, w in sizes], device=device)  # (L, 2) xy
        ranges = torch.tensor(self.regress_ranges, device=device)
        starts = torch.tensor([h * w for h, w in sizes], device=device).cumsum(0)
        starts = starts - shape.prod(dim=1)
        step = torch.arange(3, device=device) - 1
        around = torch.stack(torch.meshgrid(step, step, indexing="xy"), dim=-1).reshape(9, 2)
        boxes = objects.boxes[:, :, None]  # (N, G, 1, 4)
        cell = (box_centres(boxes) / strides).long()  # (N, G, L, 2)
        target = boxes_to_distances(cell * strides + (strides / 2).floor(), boxes)  # (N, G, L, 4)
        reach = (target[..., :2] + target[..., 2:]).square().sum(dim=-1).sqrt() / 2
        in_charge = (target.amin(dim=-1) >= 0) & (reach >= ranges[:, 0]) & (reach <= ranges[:, 1])
        target = (target / strides)[..., None, :] + torch.cat([around, -around], dim=1)  # (N, G, L, 9, 4)
        place = cell[..., None, :] + around
        inside = ((place >= 0) & (place < shape[:, None])).all(dim=-1) & (target.amin(dim=-1) >= 0)
        index = starts[:, None] + place[..., 1] * shape[:, None, 0] + place[..., 0]
        index = torch.where(inside, index, 0)
        row = torch.arange(len(sides), device=device)[:, None, None, None].expand_as(index)
        origin = torch.zeros_like(target[..., :2]).flatten(0, 3)
        found = distances_to_boxes(origin, sides[row, index].flatten(0, 3))
        wanted = distances_to_boxes(origin, target.clamp(min=0).flatten(0, 3))
        cost = self.box_loss.elements(found, wanted).view(index.shape).masked_fill(~inside, math.inf)
        # The place of the centre itself is positive whatever it says.
        cost[..., 4] = cost[..., 4].masked_fill(in_charge, 0)
        cost = cost.flatten(2)
        limit = cost.kthvalue(min(self.more_positives, cost.shape[2]), dim=2, keepdim=True).values
        chosen = (cost < limit.clamp(max=self.more_threshold)) & objects.real[..., None]
        label = objects.labels[..., None].expand_as(chosen)
        return row.flatten(2)[chosen], index.flatten(2)[chosen], label[chosen]

    def predict(self, outputs: UpdateOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        sizes = image_sizes(batch, outputs[0][0].device)
        levels = []
        for points, cls, reg in zip(self.points.grid(map_sizes(outputs[0]), sizes.device), *outputs):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            boxes = Encoded(distances_to_boxes, points, flatten_levels([reg], 4))
            levels.append(self.selection.candidates(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)
