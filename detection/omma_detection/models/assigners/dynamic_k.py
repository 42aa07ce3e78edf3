"""How many priors an object takes, by how well they fit it already (Ge et al., OTA and YOLOX, 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omma_detection.models.assigners.max_iou import Assignment


def dynamic_k_match(
    cost: Tensor, iou: Tensor, candidates: Tensor, real: Tensor, most: int
) -> tuple[Assignment, Tensor]:
    """Each object takes its cheapest priors: as many as the best ``most`` IoUs sum up to, at least one.

    A prior that several objects take goes to the one for which it is cheapest.

    Args:
        cost: (N, G, P).
        iou: (N, G, P) of the predicted boxes with the objects.
        candidates: (N, P) bool: priors that may be taken.
        real: (N, G) bool: is an object and not filling.
        most: IoUs that are summed up.

    Returns:
        The assignment; and (N, P) the IoU with the own object, 0 without one.
    """
    usable = candidates[:, None] & real[..., None]
    iou = iou.where(usable, 0)
    cost = cost.where(usable, math.inf)
    count = min(most, cost.shape[2])
    take = iou.topk(count, dim=2).values.sum(dim=2).int().clamp(min=1)  # (N, G)
    cheapest, place = cost.topk(count, dim=2, largest=False, sorted=True)
    rank = torch.arange(count, device=cost.device)
    chosen = (rank < take[..., None]) & cheapest.isfinite()
    taken = usable.new_zeros(usable.shape).scatter(2, place, chosen)
    claims = taken.sum(dim=1)
    # Of a contested prior any object may become the owner, also one that had not claimed it.
    owner = taken.int().argmax(dim=1).where(claims < 2, cost.argmin(dim=1))
    positive = claims > 0
    overlap = iou.gather(1, owner[:, None])[:, 0].where(positive, 0)
    return Assignment(owner.where(positive, -1)), overlap
