"""The same number of anchors for every object (Chen et al., YOLOF, 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from omma.ops import elementwise_iou, pairwise_iou
from omma.registry import register
from omma_detection.models.assigners.max_iou import Assignment
from omma_detection.models.objects import Objects


@dataclass(frozen=True)
class Pairs:
    """K pairs of a prior and an object of an image, each index (K,) int64; a prior may be in several."""

    images: Tensor
    priors: Tensor
    objects: Tensor


@register
class UniformAssigner:
    """Each object takes the nearest anchors, and as many again whose predicted boxes are nearest.

    Args:
        candidates: of each kind.
        least_iou: of an anchor with the object that takes it; below it is left out of the loss.
        ignore_iou: an anchor that no object takes is background only if its predicted box has no higher IoU
            with any of them.
    """

    def __init__(self, *, candidates: int = 4, least_iou: float = 0.15, ignore_iou: float = 0.7) -> None:
        if candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {candidates}")
        self.candidates, self.least_iou, self.ignore_iou = candidates, least_iou, ignore_iou

    @torch.no_grad()
    def __call__(
        self, priors: Tensor, boxes: Tensor, objects: Objects, valid: Tensor
    ) -> tuple[Assignment, Pairs]:
        """Which of P anchors has which object, in each of N images.

        Args:
            priors: (P, 4) xyxy, pixels.
            boxes: (N, P, 4), predicted from them.
            objects: of the N images.
            valid: (N, P) bool: anchors that take part; the others get neither object nor background.

        Returns:
            The assignment; and all pairs that the boxes are learned from: those of an anchor that several
            objects take too.
        """
        n, g = objects.real.shape
        apart = ~valid[:, None]
        by_box = _distance(boxes[:, None], objects.boxes[:, :, None]).masked_fill(apart, torch.inf)
        by_prior = _distance(priors, objects.boxes[:, :, None]).masked_fill(apart, torch.inf)
        count = min(self.candidates, len(priors))
        near = [d.topk(count, dim=2, largest=False).indices for d in (by_box, by_prior)]
        # In the reference's order, as of an anchor's objects the last gets it: by rank, kind and object.
        prior = torch.stack(near, dim=1).permute(0, 3, 1, 2).flatten(1)  # (N, count * 2 * G)
        owner = torch.arange(g, device=prior.device).repeat(2 * count).expand_as(prior)
        real = objects.real.gather(1, owner) & valid.gather(1, prior)
        overlaps = pairwise_iou(objects.boxes.flatten(0, 1), priors).unflatten(0, (n, g))
        image = torch.arange(n, device=prior.device)[:, None].expand_as(prior)
        good = real & (overlaps[image, owner, prior] >= self.least_iou)

        place = torch.arange(prior.shape[1], device=prior.device).expand_as(prior)
        last = torch.full_like(valid, -1, dtype=torch.int64)
        last = last.scatter_reduce(1, prior, torch.where(real, place, -1), "amax")
        taken = last.clamp(min=0)
        wanted = torch.where(good.gather(1, taken), owner.gather(1, taken), -2)
        seen = elementwise_iou(boxes[:, None], objects.boxes[:, :, None]) * objects.real[..., None]
        free = torch.where(valid & (seen.amax(dim=1) <= self.ignore_iou), -1, -2)
        return Assignment(torch.where(last >= 0, wanted, free)), Pairs(image[good], prior[good], owner[good])


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """L1 distance of boxes (..., 4) as centres and sizes, broadcasting."""
    centre = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).abs() / 2
    size = (a[..., 2:] - a[..., :2] - b[..., 2:] + b[..., :2]).abs()
    return centre.sum(dim=-1) + size.sum(dim=-1)
