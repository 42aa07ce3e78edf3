"""Assignment by what a model gets right in both tasks (Feng et al., TOOD, 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops import box_centres, elementwise_iou
from omma.registry import register
from omma_detection.models.assigners.max_iou import Assignment
from omma_detection.models.objects import Objects, points_inside

_INSIDE = 0.01
"""Pixels from an object's border from which on a prior's centre counts as inside."""


@register
class TaskAlignedAssigner:
    """The priors that predict an object best, by score^alpha * IoU^beta, if their centres lie in it.

    A prior that several objects want takes the one that its box overlaps most.

    Args:
        candidates: priors for each object.
        alpha: power of the class score.
        beta: power of the IoU.
    """

    def __init__(self, *, candidates: int = 13, alpha: float = 1.0, beta: float = 6.0) -> None:
        if candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {candidates}")
        self.candidates, self.alpha, self.beta = candidates, alpha, beta

    @torch.no_grad()
    def __call__(
        self, priors: Tensor, scores: Tensor, boxes: Tensor, objects: Objects, valid: Tensor
    ) -> tuple[Assignment, Tensor]:
        """Which of P priors has which object, in each of N images, and how well it is aligned with it.

        Args:
            priors: (P, 4) xyxy, pixels.
            scores: (N, P, C) in 0..1.
            boxes: (N, P, 4) as predicted, pixels.
            objects: of the N images.
            valid: (N, P) bool: priors that take part; the others get neither object nor background.

        Returns:
            The assignment; and (N, P) the alignment, whose largest value for each object is the largest IoU
            among its priors, 0 without an object.
        """
        index = objects.labels[:, None].expand(-1, len(priors), -1)
        score = scores.gather(2, index).transpose(1, 2)  # (N, G, P)
        iou = elementwise_iou(objects.boxes[:, :, None], boxes[:, None])
        usable = valid[:, None] & objects.real[..., None]
        alignment = score**self.alpha * iou**self.beta * usable
        best, near = alignment.topk(min(self.candidates, len(priors)), dim=2)
        centres = box_centres(priors)
        inside = points_inside(centres, objects.boxes).gather(2, near) > _INSIDE
        chosen = torch.zeros_like(usable).scatter(2, near, inside & (best > 0))
        overlap, owner = iou.masked_fill(~chosen, -1).max(dim=1)  # (N, P)
        positive = overlap >= 0
        own = chosen.new_zeros(chosen.shape).scatter(1, owner[:, None], positive[:, None])
        alignment, iou = alignment * own, iou * own
        peak = alignment.amax(dim=2, keepdim=True) + 1e-7
        quality = (alignment / peak * iou.amax(dim=2, keepdim=True)).amax(dim=1)
        return Assignment(torch.where(positive, owner, torch.where(valid, -1, -2))), quality
