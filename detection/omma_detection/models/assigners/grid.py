"""Assignment by overlap within the cells that objects are centred in (Redmon and Farhadi, YOLOv3, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops import pairwise_iou
from omma.registry import register
from omma_detection.models.assigners.max_iou import Assignment
from omma_detection.models.objects import Objects


@register
class GridAssigner:
    """Anchors that overlap an object little are background; positive are only those of cells with a centre.

    Of these each object has its best ones, and each anchor the object that it overlaps enough.

    Args:
        positive_iou: above this IoU an anchor has the object.
        negative_iou: up to it an anchor is background; in between it counts for nothing.
        min_positive_iou: an object's best anchors must overlap it more than that.
    """

    def __init__(
        self, *, positive_iou: float = 0.5, negative_iou: float = 0.5, min_positive_iou: float = 0.0
    ) -> None:
        if not 0 <= negative_iou <= positive_iou <= 1:
            raise ValueError(
                f"need 0 <= negative_iou <= positive_iou <= 1, got {negative_iou} and {positive_iou}"
            )
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        self.min_positive_iou = min_positive_iou

    @torch.no_grad()
    def __call__(self, anchors: Tensor, objects: Objects, occupied: Tensor) -> Assignment:
        """Which of P anchors has which object, in each of N images.

        Args:
            anchors: (P, 4) xyxy, pixels.
            objects: of the N images.
            occupied: (N, P) bool: anchors of cells that the centre of an object lies in.
        """
        iou = pairwise_iou(objects.boxes.flatten(0, 1), anchors).unflatten(0, objects.real.shape)
        iou = iou.where(objects.real[..., None], 0)  # (N, G, P)
        assigned = torch.where(iou.amax(dim=1) <= self.negative_iou, -1, -2)
        inside = iou.where(occupied[:, None] & objects.real[..., None], -1)
        best, index = inside.max(dim=1)
        assigned = torch.where(best > self.positive_iou, index, assigned)
        top = inside.amax(dim=2, keepdim=True)
        wants = (inside == top) & (top > self.min_positive_iou)
        # Of several objects that share a best anchor the last one gets it.
        rank = torch.arange(iou.shape[1], device=iou.device)[:, None]
        last = torch.where(wants, rank, -1).amax(dim=1)
        return Assignment(torch.where(last >= 0, last, assigned))
