"""The points next to an object's centre (Yang et al., RepPoints, 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omma.ops import box_centres
from omma.registry import register
from omma_detection.models.assigners.max_iou import Assignment
from omma_detection.models.objects import Objects


@register
class NearestPointAssigner:
    """Each object takes the points next to its centre on the level of its size.

    A point that several objects want takes the one whose centre is nearest, measured in its width and height.

    Args:
        scale: side of an object, in strides, at which a level is in charge of it.
        candidates: points for each object.
    """

    def __init__(self, *, scale: float = 4.0, candidates: int = 1) -> None:
        if scale <= 0 or candidates < 1:
            raise ValueError(f"need scale > 0 and candidates >= 1, got {scale} and {candidates}")
        self.scale, self.candidates = scale, candidates

    @torch.no_grad()
    def __call__(self, points: Tensor, strides: Tensor, objects: Objects, valid: Tensor) -> Assignment:
        """Which of P points has which object, in each of N images.

        Args:
            points: (P, 2) xy, pixels.
            strides: (P,) of their levels, powers of two.
            objects: of the N images.
            valid: (N, P) bool: points that take part; the others get neither object nor background.
        """
        sizes = (objects.boxes[..., 2:] - objects.boxes[..., :2]).clamp(min=1e-6)
        levels = strides.log2().round()
        wanted = (sizes / self.scale).log2().mean(dim=-1).trunc().clamp(levels.amin(), levels.amax())
        centres = box_centres(objects.boxes)
        distance = ((points - centres[:, :, None]) / sizes[:, :, None]).norm(dim=-1)  # (N, G, P)
        usable = (levels == wanted[..., None]) & objects.real[..., None] & valid[:, None]
        distance = distance.masked_fill(~usable, math.inf)
        near = distance.topk(min(self.candidates, len(points)), dim=2, largest=False)
        taken = torch.full_like(distance, math.inf).scatter(2, near.indices, near.values)
        best, owner = taken.min(dim=1)
        return Assignment(torch.where(best.isfinite(), owner, torch.where(valid, -1, -2)))
