"""Distribution focal loss (Li et al., Generalized Focal Loss, 2020)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omma.losses.base import Loss
from omma.registry import register


@register
class DistributionFocalLoss(Loss):
    """Cross-entropy of a distribution over 0..M against the two whole numbers around the true value.

    Logits (N, M + 1) and values (N,) in 0..M: elements (N,).
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N,)."""
        below = target.floor().clamp(0, pred.shape[1] - 2).long()
        share = (target - below).to(pred.dtype)
        low = F.cross_entropy(pred, below, reduction="none")
        return low * (1 - share) + F.cross_entropy(pred, below + 1, reduction="none") * share
