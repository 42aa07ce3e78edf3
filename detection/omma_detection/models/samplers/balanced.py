"""Samples balanced over objects and over overlaps (Pang et al., Libra R-CNN, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.registry import register
from omma_detection.models.assigners import Assignment
from omma_detection.models.samplers.base import BoxSampler, Draw, shuffled


@register
class CombinedBoxSampler(BoxSampler):
    """Positives and negatives by draws of their own.

    Args:
        num: priors per image.
        positive_fraction: largest share of positives.
        negatives_per_positive: at most so many negatives for each positive; null: no limit.
        positive: draw of positives.
        negative: draw of negatives.
    """


@register
class InstanceBalancedDraw(Draw):
    """About as many priors of each object; what objects with few priors leave is filled up at random."""

    def __call__(self, found: Tensor, count: int, assignment: Assignment, losses: Tensor | None) -> Tensor:
        """``count`` of ``found``, which are positive."""
        order = shuffled(found)
        objects = assignment.objects[order]
        share = round(count / len(objects.unique())) + 1
        by_object = objects.argsort(stable=True)
        grouped = objects[by_object]
        rank = torch.arange(len(order), device=order.device) - torch.searchsorted(grouped, grouped)
        within = torch.zeros_like(rank, dtype=torch.bool)
        within[by_object] = rank < share
        return torch.cat([order[within], order[~within]])[:count]


@register
class IoUBalancedDraw(Draw):
    """As many negatives from each of some equal ranges of IoU; what is missing is filled up at random.

    Args:
        bins: ranges of IoU.
        floor: negatives below this IoU are drawn apart from the others; none if negative.
        floor_fraction: share of those.
    """

    def __init__(self, *, bins: int = 3, floor: float = -1.0, floor_fraction: float = 0.0) -> None:
        if bins < 1 or not 0 <= floor_fraction <= 1:
            raise ValueError(f"need bins >= 1 and floor_fraction in 0..1, got {bins} and {floor_fraction}")
        self.bins, self.floor, self.floor_fraction = bins, floor, floor_fraction

    def __call__(self, found: Tensor, count: int, assignment: Assignment, losses: Tensor | None) -> Tensor:
        """``count`` of ``found``, which are negative."""
        order = shuffled(found)
        iou = assignment.overlaps[order]
        low = iou < self.floor if self.floor > 0 else (iou <= 0) & (self.floor == 0)
        wanted = int(count * (1 - self.floor_fraction))
        chosen = self._by_range(order[~low], iou[~low], wanted, float(assignment.overlaps.max()))
        chosen = torch.cat([chosen, order[low][: count - len(chosen)]])
        rest = order[~torch.isin(order, chosen)]
        return torch.cat([chosen, rest])[:count]

    def _by_range(self, order: Tensor, iou: Tensor, count: int, highest: float) -> Tensor:
        if len(order) <= count:
            return order
        start = max(self.floor, 0.0)
        width = (highest - start) / self.bins
        chosen = []
        for i in range(self.bins):
            inside = (iou >= start + i * width) & (iou < start + (i + 1) * width)
            chosen.append(order[inside][: count // self.bins])
        picked = torch.cat(chosen)
        return torch.cat([picked, order[~torch.isin(order, picked)]])[:count]
