"""A fixed number of priors per image, drawn at random (Girshick, Fast R-CNN, 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from omma.registry import register
from omma_detection.models.assigners import Assignment


@dataclass(frozen=True)
class Sampled:
    """Positions of the chosen priors of one image."""

    positive: Tensor
    """(P,) int64."""
    negative: Tensor
    """(Q,) int64."""


@register
class RandomBoxSampler:
    """Draws positives up to a share of ``num`` and fills up with negatives.

    Args:
        num: priors per image.
        positive_fraction: largest share of positives.
    """

    def __init__(self, *, num: int, positive_fraction: float) -> None:
        if num < 1 or not 0 <= positive_fraction <= 1:
            raise ValueError(
                f"need num >= 1 and positive_fraction in 0..1, got {num} and {positive_fraction}"
            )
        self.num = num
        self.positive_fraction = positive_fraction

    def __call__(self, assignment: Assignment) -> Sampled:
        """The chosen priors of one image."""
        positive = _draw(assignment.positive, int(self.num * self.positive_fraction))
        return Sampled(positive, _draw(assignment.negative, self.num - len(positive)))


def _draw(wanted: Tensor, count: int) -> Tensor:
    """At most ``count`` positions of a (P,) mask, without replacement, in rising order."""
    found = wanted.nonzero()[:, 0]
    if len(found) <= count:
        return found
    return found[torch.randperm(len(found), device=found.device)[:count]].sort().values
