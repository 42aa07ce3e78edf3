"""A fixed number of priors per image, drawn at random (Girshick, Fast R-CNN, 2015)."""

from __future__ import annotations

from torch import Tensor

from omma.registry import register
from omma_detection.models.assigners import Assignment
from omma_detection.models.samplers.base import BoxSampler, Draw, shuffled


@register
class RandomDraw(Draw):
    """All equally likely."""

    def __call__(self, found: Tensor, count: int, assignment: Assignment, losses: Tensor | None) -> Tensor:
        """``count`` of ``found``."""
        return shuffled(found)[:count]


@register
class RandomBoxSampler(BoxSampler):
    """Positives and negatives at random.

    Args:
        num: priors per image.
        positive_fraction: largest share of positives.
        negatives_per_positive: at most so many negatives for each positive; null: no limit.
    """

    def __init__(
        self, *, num: int, positive_fraction: float, negatives_per_positive: float | None = None
    ) -> None:
        super().__init__(
            num=num,
            positive_fraction=positive_fraction,
            negatives_per_positive=negatives_per_positive,
            positive=RandomDraw(),
            negative=RandomDraw(),
        )
