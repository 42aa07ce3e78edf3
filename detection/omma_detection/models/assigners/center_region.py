"""Assignment by the middle of objects (Zhu et al., FSAF, 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omma.ops import box_centres
from omma.registry import register
from omma_detection.models.assigners.max_iou import Assignment
from omma_detection.models.objects import Objects, points_inside


@register
class CenterRegionAssigner:
    """A prior in the middle region of an object has it; of several objects the smallest.

    Args:
        core: side of the region in which priors are positive, as a share of the object's.
        shadow: side of that in which they are at least not negative for the object's class.
        least_share: of a prior's area that must lie in a region.
    """

    def __init__(self, *, core: float = 0.2, shadow: float = 0.2, least_share: float = 0.01) -> None:
        self.core, self.shadow, self.least_share = core, shadow, least_share

    @torch.no_grad()
    def __call__(
        self, priors: Tensor, objects: Objects, valid: Tensor, num_classes: int
    ) -> tuple[Assignment, Tensor]:
        """Which of P priors has which object, in each of N images, and which classes it says nothing about.

        Args:
            priors: (P, 4) xyxy, pixels.
            objects: of the N images.
            valid: (N, P) bool: priors that take part; the others get neither object nor background.
            num_classes: C.

        Returns:
            The assignment; and (N, P, C) bool, priors in the shadow of objects of a class. A prior that has
            an object and lies in the shadow of another of its class is background.
        """
        usable = (valid[:, None] & objects.real[..., None]).expand(-1, -1, len(priors))
        centres = box_centres(priors)
        core = usable & (_share_inside(priors, objects.boxes, self.core) > self.least_share)
        core = core & (points_inside(centres, objects.boxes) > 0)
        shadow = usable & (_share_inside(priors, objects.boxes, self.shadow) > self.least_share) & ~core
        area, owner = torch.where(core, objects.areas[..., None], math.inf).min(dim=1)  # (N, P)
        chosen = torch.zeros_like(core).scatter(1, owner[:, None], area.isfinite()[:, None])
        shadow = shadow | (core & ~chosen)
        shadowed = torch.zeros(len(core), num_classes, len(priors), dtype=torch.uint8, device=core.device)
        index = objects.labels[..., None].expand_as(core)
        shadowed = shadowed.scatter_reduce(1, index, shadow.to(torch.uint8), "amax").bool()
        clash = shadowed.gather(1, objects.labels.gather(1, owner)[:, None])[:, 0]
        positive = area.isfinite() & ~clash
        return Assignment(torch.where(positive, owner, torch.where(valid, -1, -2))), shadowed.transpose(1, 2)


def _share_inside(priors: Tensor, boxes: Tensor, scale: float) -> Tensor:
    """Share (N, G, P) of each prior's area that lies in the middle of each box, shrunk to ``scale``."""
    centre, half = box_centres(boxes), (boxes[..., 2:] - boxes[..., :2]) / 2 * scale
    low = torch.maximum((centre - half)[:, :, None], priors[:, :2])
    high = torch.minimum((centre + half)[:, :, None], priors[:, 2:])
    area = (priors[:, 2:] - priors[:, :2]).prod(dim=1)
    return (high - low).clamp(min=0).prod(dim=-1) / area
