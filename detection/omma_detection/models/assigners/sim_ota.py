"""Assignment by cost of class and box (Ge et al., YOLOX: Exceeding YOLO Series in 2021, 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops import box_centres, elementwise_iou
from omma.registry import register
from omma_detection.models.assigners.dynamic_k import dynamic_k_match
from omma_detection.models.assigners.max_iou import Assignment
from omma_detection.models.objects import Objects, points_inside

_LEAST_IOU = 1e-7
_LOWEST_LOG = -100.0
_OUTSIDE = 1e5
"""Cost of a prior that isn't both inside an object and near its centre."""


@register
class SimOTAAssigner:
    """The cost of a prior for an object: cross-entropy of its scores and -log IoU.

    Only priors inside some object or near its centre take part; for an object those that are both come first.

    Args:
        candidates: IoUs of each object that say how many priors it takes.
        center_radius: half the side of the square around an object's centre that is near, strides.
        cls_weight: factor of the cross-entropy.
        iou_weight: factor of the -log IoU.
    """

    def __init__(
        self,
        *,
        candidates: int = 10,
        center_radius: float = 2.5,
        cls_weight: float = 1.0,
        iou_weight: float = 3.0,
    ) -> None:
        if candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {candidates}")
        self.candidates, self.center_radius = candidates, center_radius
        self.cls_weight, self.iou_weight = cls_weight, iou_weight

    @torch.no_grad()
    def __call__(
        self, points: Tensor, strides: Tensor, scores: Tensor, boxes: Tensor, objects: Objects
    ) -> tuple[Assignment, Tensor]:
        """Which of P priors has which object, in each of N images.

        Args:
            points: (P, 2) xy, pixels.
            strides: (P,) pixels.
            scores: (N, P, C) in 0..1.
            boxes: (N, P, 4) as predicted, pixels.
            objects: of the N images.

        Returns:
            The assignment; and (N, P) the IoU of the predicted box with the own object, 0 without one.
        """
        iou = elementwise_iou(objects.boxes[:, :, None], boxes[:, None])  # (N, G, P)
        real = objects.real[..., None]
        inside = (points_inside(points, objects.boxes) > 0) & real
        centres = box_centres(objects.boxes)
        furthest = (centres[:, :, None] - points).abs().amax(dim=-1)
        near = (furthest < self.center_radius * strides) & real
        cost = (
            self._classification(scores.float(), objects.labels) * self.cls_weight
            - (iou + _LEAST_IOU).log() * self.iou_weight
            + _OUTSIDE * ~(inside & near)
        )
        candidates = (inside | near).any(dim=1)
        return dynamic_k_match(cost, iou, candidates, objects.real, self.candidates)

    @staticmethod
    def _classification(scores: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy (N, G, P), summed over the classes, against the object's class."""
        present, absent = scores.log().clamp(min=_LOWEST_LOG), (-scores).log1p().clamp(min=_LOWEST_LOG)
        index = labels[:, None].expand(-1, scores.shape[1], -1)
        gain = (absent - present).gather(2, index) - absent.sum(dim=2, keepdim=True)
        return gain.transpose(1, 2)
