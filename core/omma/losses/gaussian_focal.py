"""Focal loss on heat maps (Law and Deng, CornerNet, 2018)."""

from __future__ import annotations

from torch import Tensor

from omma.losses.base import Loss
from omma.registry import register

_EPS = 1e-12


@register
class GaussianFocalLoss(Loss):
    """Probabilities against a heat map of the same shape, which is 1 at objects and falls off around them.

    Elements are those of the shape of both.

    Args:
        alpha: how fast easy places fade.
        gamma: how fast places near objects count less as negatives.
        positive_weight: of the places of objects.
        negative_weight: of all others.
        loss_weight: factor of the whole.
    """

    def __init__(
        self,
        *,
        alpha: float = 2.0,
        gamma: float = 4.0,
        positive_weight: float = 1.0,
        negative_weight: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        self.alpha, self.gamma = alpha, gamma
        self.positive_weight, self.negative_weight = positive_weight, negative_weight

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The shape of ``pred``."""
        self.check_same_shape(pred, target)
        return self.positives(pred) * (target == 1) + self.negatives(pred, target)

    def positives(self, pred: Tensor) -> Tensor:
        """What each probability costs where an object is."""
        return -(pred + _EPS).log() * (1 - pred).pow(self.alpha) * self.positive_weight

    def negatives(self, pred: Tensor, target: Tensor) -> Tensor:
        """What each costs as one beside objects; nothing at their places."""
        fade = pred.pow(self.alpha) * (1 - target).pow(self.gamma)
        return -(1 - pred + _EPS).log() * fade * self.negative_weight
