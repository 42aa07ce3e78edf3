"""Distances between numbers."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omma.losses.base import Loss
from omma.registry import register


@register
class L1Loss(Loss):
    """|pred - target|, elementwise."""

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The shape of ``pred``."""
        self.check_same_shape(pred, target)
        return F.l1_loss(pred, target, reduction="none")


@register
class MSELoss(Loss):
    """(pred - target)^2, elementwise."""

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The shape of ``pred``."""
        self.check_same_shape(pred, target)
        return F.mse_loss(pred, target, reduction="none")


@register
class SmoothL1Loss(Loss):
    """Quadratic below ``beta`` and linear above (Girshick, Fast R-CNN, 2015), elementwise.

    Args:
        beta: where the parts meet.
        loss_weight: factor of the whole.
    """

    def __init__(self, *, beta: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        if beta <= 0:
            raise ValueError(f"beta must be greater than 0 (L1Loss is the limit), got {beta}")
        self.beta = beta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The shape of ``pred``."""
        self.check_same_shape(pred, target)
        return F.smooth_l1_loss(pred, target, reduction="none", beta=self.beta)
