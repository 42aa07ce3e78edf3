"""Dice loss (Milletari et al., V-Net, 2016)."""

from __future__ import annotations

from torch import Tensor

from omma.losses.base import Loss
from omma.registry import register


@register
class DiceLoss(Loss):
    """1 - 2 sum(p t) / (sum(p^2) + sum(t^2)) of masks: logits (N, ...) and targets in 0..1, elements (N,).

    Args:
        eps: added to each sum of squares, or to numerator and denominator of the plain form.
        squared: squares in the denominator; without them it is sum(p) + sum(t).
        activated: predictions are probabilities instead of logits.
        loss_weight: factor of the whole.
    """

    def __init__(
        self, *, eps: float = 1e-3, squared: bool = True, activated: bool = False, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        self.eps = eps
        self.squared = squared
        self.activated = activated

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N,)."""
        self.check_same_shape(pred, target)
        share = pred.flatten(1) if self.activated else pred.flatten(1).sigmoid()
        truth = target.flatten(1).to(pred.dtype)
        both = (share * truth).sum(dim=1)
        if self.squared:
            return 1 - 2 * both / (share.square().sum(dim=1) + truth.square().sum(dim=1) + 2 * self.eps)
        return 1 - (2 * both + self.eps) / (share.sum(dim=1) + truth.sum(dim=1) + self.eps)
