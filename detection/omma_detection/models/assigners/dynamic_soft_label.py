"""Assignment by cost against soft labels (Lyu et al., RTMDet, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops import box_centres, elementwise_iou
from omma.registry import register
from omma_detection.models.assigners.dynamic_k import dynamic_k_match
from omma_detection.models.assigners.max_iou import Assignment
from omma_detection.models.objects import Objects, points_inside

_LEAST_IOU = 1e-7


@register
class DynamicSoftLabelAssigner:
    """A prior costs an object: quality focal loss against its IoU, -log IoU, distance from the centre.

    Only priors inside some object take part.

    Args:
        candidates: IoUs of each object that say how many priors it takes.
        center_radius: distance from an object's centre from which on the cost of it rises steeply, strides.
        iou_weight: factor of the -log IoU.
    """

    def __init__(self, *, candidates: int = 13, center_radius: float = 3.0, iou_weight: float = 3.0) -> None:
        if candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {candidates}")
        self.candidates, self.center_radius, self.iou_weight = candidates, center_radius, iou_weight

    @torch.no_grad()
    def __call__(
        self, points: Tensor, strides: Tensor, logits: Tensor, boxes: Tensor, objects: Objects
    ) -> tuple[Assignment, Tensor]:
        """Which of P priors has which object, in each of N images.

        Args:
            points: (P, 2) xy, pixels.
            strides: (P,) pixels.
            logits: (N, P, C).
            boxes: (N, P, 4) as predicted, pixels.
            objects: of the N images.

        Returns:
            The assignment; and (N, P) the IoU of the predicted box with the own object, 0 without one.
        """
        iou = elementwise_iou(objects.boxes[:, :, None], boxes[:, None])  # (N, G, P)
        inside = (points_inside(points, objects.boxes) > 0) & objects.real[..., None]
        centres = box_centres(objects.boxes)
        distance = (centres[:, :, None] - points).square().sum(dim=-1).sqrt() / strides
        cost = (
            self._classification(logits.float(), objects.labels, iou)
            - (iou + _LEAST_IOU).log() * self.iou_weight
            + 10 ** (distance - self.center_radius)
        )
        return dynamic_k_match(cost, iou, inside.any(dim=1), objects.real, self.candidates)

    @staticmethod
    def _classification(logits: Tensor, labels: Tensor, iou: Tensor) -> Tensor:
        """Quality focal loss (N, G, P), summed over the classes, if the object's class had the IoU."""
        index = labels[:, None].expand(-1, logits.shape[1], -1)
        own = logits.gather(2, index).transpose(1, 2)  # (N, G, P)
        absent = F.softplus(logits) * logits.sigmoid().square()  # target 0
        others = absent.sum(dim=2)[:, None] - absent.gather(2, index).transpose(1, 2)
        entropy = F.binary_cross_entropy_with_logits(own, iou, reduction="none")
        return others + entropy * (iou - own.sigmoid()).square()
