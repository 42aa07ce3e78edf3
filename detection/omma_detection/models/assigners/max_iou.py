"""Assignment by overlap (Ren et al., Faster R-CNN, 2015)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from omma.ops import pairwise_iou
from omma.registry import register


@dataclass(frozen=True)
class Assignment:
    """One object, background or nothing for each of P priors, of one image or of each of N."""

    objects: Tensor
    """(P,) or (N, P) int64: index of the object; -1 background; -2 neither, left out of the loss."""
    overlaps: Tensor = field(default_factory=lambda: torch.zeros(0))
    """(P,) highest IoU with any object, for samplers that look at it."""

    @property
    def positive(self) -> Tensor:
        """Bool of that shape: has an object."""
        return self.objects >= 0

    @property
    def negative(self) -> Tensor:
        """Bool of that shape: is background."""
        return self.objects == -1


@register
class MaxIoUAssigner:
    """Each prior goes to the object that it overlaps most, if the IoU is high enough.

    Args:
        positive_iou: from this IoU on a prior has the object.
        negative_iou: below it is background; in between it counts for nothing.
        match_low_quality: give each object its best priors even below ``positive_iou``...
        min_positive_iou: ...but not below this...
        one_best: ...and of several equally good ones only the first.
    """

    def __init__(
        self,
        *,
        positive_iou: float,
        negative_iou: float,
        match_low_quality: bool = True,
        min_positive_iou: float = 0.0,
        one_best: bool = False,
    ) -> None:
        if not 0 <= negative_iou <= positive_iou <= 1:
            raise ValueError(
                f"need 0 <= negative_iou <= positive_iou <= 1, got {negative_iou} and {positive_iou}"
            )
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.match_low_quality = match_low_quality
        self.min_positive_iou = min_positive_iou
        self.one_best = one_best

    @torch.no_grad()
    def __call__(self, priors: Tensor, objects: Tensor, valid: Tensor | None = None) -> Assignment:
        """Priors (P, 4) against the objects (G, 4) of one image, xyxy in the same pixels.

        Priors may be groups of A boxes, (P, A, 4); of each the box with the highest IoU counts, as for the
        shapes of guided anchors. Priors that are not ``valid`` (P,) neither get an object nor count as
        background.
        """
        if valid is None:
            valid = torch.ones(len(priors), dtype=torch.bool, device=priors.device)
        if not len(objects):
            return Assignment(torch.where(valid, -1, -2), priors.new_zeros(len(priors)))
        iou = pairwise_iou(objects, priors.reshape(-1, 4)).unflatten(1, priors.shape[:-1])
        iou = (iou.amax(dim=2) if iou.ndim == 3 else iou) * valid  # (G, P)
        best, index = iou.max(dim=0)
        assigned = torch.full_like(index, -2)
        assigned[best < self.negative_iou] = -1
        assigned = torch.where(best >= self.positive_iou, index, assigned)
        if self.match_low_quality:
            # Of several objects that share a best prior the last one gets it, as in the reference.
            top = iou.amax(dim=1, keepdim=True) if iou.shape[1] else iou.new_zeros(len(objects), 1)
            # A box without area overlaps nothing: its best IoU of 0 is that of every prior.
            wants = (iou == top) & (top >= self.min_positive_iou) & (top > 0)
            if self.one_best:
                wants &= wants.cumsum(dim=1) == 1
            rank = torch.arange(len(objects), device=iou.device)[:, None]
            last = torch.where(wants, rank, -1).amax(dim=0)
            assigned = torch.where(last >= 0, last, assigned)
        return Assignment(torch.where(valid, assigned, -2), best)
