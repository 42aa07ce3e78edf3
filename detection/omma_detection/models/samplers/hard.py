"""Online hard example mining (Shrivastava et al., 2016)."""

from __future__ import annotations

from torch import Tensor

from omma.registry import register
from omma_detection.models.assigners import Assignment
from omma_detection.models.samplers.base import BoxSampler, Draw


@register
class HardestDraw(Draw):
    """Those whose class is predicted worst."""

    needs_losses = True

    def __call__(self, found: Tensor, count: int, assignment: Assignment, losses: Tensor | None) -> Tensor:
        """``count`` of ``found``."""
        assert losses is not None
        return found[losses[found].topk(count).indices]


@register
class OHEMSampler(BoxSampler):
    """The positives and negatives with the highest classification loss under the current weights.

    Args:
        num: priors per image.
        positive_fraction: largest share of positives.
    """

    def __init__(self, *, num: int, positive_fraction: float) -> None:
        draw = HardestDraw()
        super().__init__(num=num, positive_fraction=positive_fraction, positive=draw, negative=draw)
