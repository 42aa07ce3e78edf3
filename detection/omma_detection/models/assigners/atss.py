"""Adaptive training sample selection (Zhang et al., ATSS, 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from omma.ops import box_centres, pairwise_iou
from omma.registry import register
from omma_detection.models.assigners.max_iou import Assignment
from omma_detection.models.objects import Objects, points_inside

_INSIDE = 0.01
"""Pixels from an object's border from which on an anchor's centre counts as inside."""


@register
class ATSSAssigner:
    """The anchors nearest to an object on each level, if they overlap it more than such anchors usually do.

    The threshold of each object is the mean plus the standard deviation of the overlaps of its candidates. An
    anchor that several objects want takes the one that it overlaps most.

    Args:
        candidates: nearest anchors of each level.
    """

    def __init__(self, *, candidates: int = 9) -> None:
        if candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {candidates}")
        self.candidates = candidates

    @torch.no_grad()
    def __call__(
        self,
        priors: Tensor,
        counts: Sequence[int],
        objects: Objects,
        valid: Tensor,
        overlaps: Tensor | None = None,
    ) -> Assignment:
        """Which of P anchors has which object, in each of N images.

        Args:
            priors: (P, 4) xyxy, level by level, pixels.
            counts: anchors of each level, P in all.
            objects: of the N images.
            valid: (N, P) bool: anchors that take part; the others get neither object nor background.
            overlaps: (N, G, P) in 0..1 to use in place of the anchors' IoU with the objects.
        """
        centres = box_centres(priors)
        if overlaps is None:
            overlaps = pairwise_iou(objects.boxes.flatten(0, 1), priors).unflatten(0, objects.real.shape)
        near = self._nearest(centres, counts, objects, valid)  # (N, G, K)
        usable = valid[:, None].expand_as(overlaps).gather(2, near)
        overlap = overlaps.gather(2, near)
        threshold = _mean_plus_deviation(overlap, usable)[..., None]
        inside = points_inside(centres, objects.boxes).gather(2, near) > _INSIDE
        chosen = usable & inside & (overlap >= threshold) & objects.real[..., None]
        wanted = torch.full_like(overlaps, -math.inf).scatter(2, near, overlap.where(chosen, -math.inf))
        best, index = wanted.max(dim=1)  # (N, P)
        return Assignment(torch.where(best.isfinite(), index, torch.where(valid, -1, -2)))

    def _nearest(self, centres: Tensor, counts: Sequence[int], objects: Objects, valid: Tensor) -> Tensor:
        """(N, G, K) indices of the anchors whose centres are nearest to each object's, level by level."""
        middles = box_centres(objects.boxes)
        distance = (middles[:, :, None] - centres).square().sum(dim=-1).sqrt()  # (N, G, P)
        distance = distance.masked_fill(~valid[:, None], math.inf)
        found, start = [], 0
        for level in distance.split(list(counts), dim=2):
            size = level.shape[2]
            found.append(level.topk(min(self.candidates, size), dim=2, largest=False).indices + start)
            start += size
        return torch.cat(found, dim=2)


def _mean_plus_deviation(values: Tensor, usable: Tensor) -> Tensor:
    """Over the usable of the last axis; the deviation is that of a sample."""
    count = usable.sum(dim=-1)
    mean = (values * usable).sum(dim=-1) / count.clamp(min=1)
    spread = ((values - mean[..., None]).square() * usable).sum(dim=-1) / (count - 1).clamp(min=1)
    return mean + spread.sqrt()
