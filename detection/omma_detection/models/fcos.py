"""FCOS (Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.layers import NormKind
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.coders.distance import boxes_to_distances, center_quality, distances_to_boxes
from omma_detection.models.heads.detections import Selection
from omma_detection.models.heads.point_towers import PointOutputs, PointTowers
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import PointGenerator
from omma_detection.models.single_stage import SingleStageDetector


@register
class FCOS(SingleStageDetector):
    """A pyramid and one head that sees every position as a point inside, or outside, of objects.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the point head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: FCOSHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class FCOSHead(PointTowers):
    """Two towers, then class scores, distances to the box's sides and centre-ness at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        points: the priors.
        regress_ranges: smallest and largest distance to a side that each level is in charge of, pixels; the
            last may be infinite.
        cls_loss: over all points, labels with C as background.
        box_loss: on the boxes of positive points, weighted by their centre-ness.
        centerness_loss: on the logits of positive points.
        norm: kind of norm in the towers.
        conv_bias: bias of the towers' convolutions; null: only without norm.
        centerness_on_reg: predict centre-ness from the box tower.
        norm_on_bbox: regress distances in strides through a ReLU instead of pixels through exp.
        deform_last: the towers' last convolutions are deformable, modulated.
        center_sampling: only points near an object's centre are positive...
        center_sampling_radius: ...within so many strides.
        score_threshold: lowest class score of a prediction.
        pre_nms: best (point, class) pairs of each level that go into NMS.
        nms_iou: threshold of NMS within a class.
        max_per_image: predictions per image.
        kernel_channels: D, weights of a network that draws masks, from the box tower; 0: none.
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
        cls_loss: Loss,
        box_loss: Loss,
        centerness_loss: Loss,
        norm: NormKind | None = "gn",
        conv_bias: bool | None = None,
        centerness_on_reg: bool = False,
        norm_on_bbox: bool = False,
        deform_last: bool = False,
        center_sampling: bool = False,
        center_sampling_radius: float = 1.5,
        score_threshold: float = 0.05,
        pre_nms: int = 1000,
        nms_iou: float = 0.5,
        max_per_image: int = 100,
        kernel_channels: int = 0,
    ) -> None:
        if len(regress_ranges) != len(points.strides):
            raise ValueError(f"{len(regress_ranges)} regress_ranges for {len(points.strides)} strides")
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            points=points,
            norm=norm,
            conv_bias=conv_bias,
            deform_last=deform_last,
            centerness_on_reg=centerness_on_reg,
            norm_on_bbox=norm_on_bbox,
            selection=Selection(
                score_threshold=score_threshold,
                pre_nms=pre_nms,
                nms_iou=nms_iou,
                max_per_image=max_per_image,
            ),
            kernel_channels=kernel_channels,
        )
        self.regress_ranges = regress_ranges
        self.cls_loss, self.box_loss, self.centerness_loss = cls_loss, box_loss, centerness_loss
        self.center_sampling, self.center_sampling_radius = center_sampling, center_sampling_radius

    def loss(self, outputs: PointOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox`` and ``loss_centerness``."""
        return self.point_losses(outputs, batch, self.assign(outputs, batch))

    def point_losses(self, outputs: PointOutputs, batch: Batch, owners: Tensor) -> dict[str, Tensor]:
        """The losses of points whose objects are ``owners`` (N, P), as ``assign`` gives them."""
        points, _, strides = self._points(outputs.logits)
        logits = flatten_levels(outputs.logits, self.num_classes)  # (N, P, C)
        distances = flatten_levels(outputs.distances, 4)  # (N, P, 4)
        centerness = flatten_levels(outputs.centerness, 1)[..., 0]  # (N, P)
        boxes, labels = pad_objects(batch.samples, owners.device).of(owners)
        labels = torch.where(owners >= 0, labels, self.num_classes)
        image, point = (owners >= 0).nonzero(as_tuple=True)
        target = boxes_to_distances(points[point], boxes[image, point])
        quality = center_quality(target)
        count = normalizer((owners >= 0).sum())
        total = normalizer(quality.sum(), least=1e-6)
        # Distances are compared as boxes in strides, which IoU doesn't notice, so that fp16 doesn't overflow.
        unit = strides[point, None]
        origin = torch.zeros_like(target[:, :2])
        predicted = distances_to_boxes(origin, distances[image, point] / unit)
        wanted = distances_to_boxes(origin, target / unit)
        return {
            "loss_cls": self.cls_loss(logits.flatten(0, 1), labels.flatten(), avg_factor=count),
            "loss_bbox": self.box_loss(predicted, wanted, weight=quality, avg_factor=total),
            "loss_centerness": self.centerness_loss(centerness[image, point], quality, avg_factor=count),
        }

    @torch.no_grad()
    def assign(self, outputs: PointOutputs, batch: Batch, centres: Sequence[Tensor] | None = None) -> Tensor:
        """(N, P) int64: number of the object that each point has, -1 for none.

        ``centres`` (G, 2) xy of each image's objects take the place of those of their boxes.
        """
        points, ranges, strides = self._points(outputs.logits)
        owners = []
        for i, sample in enumerate(batch.samples):
            boxes = sample["boxes"].as_subclass(Tensor).float()
            middle = box_centres(boxes) if centres is None else centres[i]
            owners.append(self._owners(points, ranges, strides, boxes, middle))
        return torch.stack(owners)

    def _points(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """All points (P, 2), and the range (P, 2) and stride (P,) of each."""
        grid = self.grid(maps)
        device = maps[0].device
        ranges = torch.cat(
            [torch.tensor([r], device=device).expand(len(g), 2) for r, g in zip(self.regress_ranges, grid)]
        )
        return torch.cat(grid), ranges, self.point_strides(grid)

    def _owners(
        self, points: Tensor, ranges: Tensor, strides: Tensor, boxes: Tensor, centres: Tensor
    ) -> Tensor:
        """(P,) of one image with boxes (G, 4).

        A point takes the smallest of the objects that it lies in and that its level is in charge of.
        """
        if not len(boxes):
            return points.new_full((len(points),), -1, dtype=torch.int64)
        distances = boxes_to_distances(points[:, None], boxes)  # (P, G, 4)
        inside = distances
        if self.center_sampling:
            reach = self.center_sampling_radius * strides[:, None, None]  # (P, 1, 1)
            near = torch.cat(
                [torch.maximum(centres - reach, boxes[:, :2]), torch.minimum(centres + reach, boxes[:, 2:])],
                dim=-1,
            )
            inside = boxes_to_distances(points[:, None], near)
        furthest = distances.amax(dim=-1)
        candidate = (inside.amin(dim=-1) > 0) & (furthest >= ranges[:, :1]) & (furthest <= ranges[:, 1:])
        area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
        smallest, index = torch.where(candidate, area, math.inf).min(dim=1)
        return torch.where(smallest.isinf(), -1, index)
