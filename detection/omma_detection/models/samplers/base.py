"""The contract of samplers: how many positives and negatives, and by which draw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from omma_detection.models.assigners import Assignment


@dataclass(frozen=True)
class Sampled:
    """Positions of the chosen priors of one image."""

    positive: Tensor
    """(P,) int64."""
    negative: Tensor
    """(Q,) int64."""


class Draw(ABC):
    """How some of too many priors are chosen."""

    needs_losses: bool = False
    """Whether it looks at the losses of the priors."""

    @abstractmethod
    def __call__(self, found: Tensor, count: int, assignment: Assignment, losses: Tensor | None) -> Tensor:
        """``count`` of the positions ``found`` (F,), F > count.

        Args:
            found: rising positions among the priors.
            count: how many.
            assignment: of all priors (P,).
            losses: of all priors (P,); null unless the draw ``needs_losses``.
        """


class BoxSampler:
    """Draws positives up to a share of ``num`` and fills up with negatives.

    Args:
        num: priors per image.
        positive_fraction: largest share of positives.
        negatives_per_positive: at most so many negatives for each positive, of which one is counted if there
            is none; null: no limit.
        positive: draw of positives.
        negative: draw of negatives.
    """

    def __init__(
        self,
        *,
        num: int,
        positive_fraction: float,
        negatives_per_positive: float | None = None,
        positive: Draw,
        negative: Draw,
    ) -> None:
        if num < 1 or not 0 <= positive_fraction <= 1:
            raise ValueError(
                f"need num >= 1 and positive_fraction in 0..1, got {num} and {positive_fraction}"
            )
        self.num = num
        self.positive_fraction = positive_fraction
        self.negatives_per_positive = negatives_per_positive
        self.positive, self.negative = positive, negative

    @property
    def needs_losses(self) -> bool:
        """Whether a draw looks at the losses of the priors."""
        return self.positive.needs_losses or self.negative.needs_losses

    def __call__(self, assignment: Assignment, losses: Tensor | None = None) -> Sampled:
        """The chosen priors of one image, given the losses (P,) of all if they are needed."""
        most = int(self.num * self.positive_fraction)
        positive = _choose(self.positive, assignment.positive, most, assignment, losses)
        most = self.num - len(positive)
        if self.negatives_per_positive is not None:
            most = min(most, int(self.negatives_per_positive * max(len(positive), 1)))
        return Sampled(positive, _choose(self.negative, assignment.negative, most, assignment, losses))


def _choose(draw: Draw, wanted: Tensor, count: int, assignment: Assignment, losses: Tensor | None) -> Tensor:
    """At most ``count`` positions of a (P,) mask, without replacement, in rising order."""
    found = wanted.nonzero()[:, 0]
    return found if len(found) <= count else draw(found, count, assignment, losses).sort().values


def shuffled(positions: Tensor) -> Tensor:
    """The same positions in random order."""
    return positions[torch.randperm(len(positions), device=positions.device)]
