"""Distances between numbers."""

from __future__ import annotations

import math

import torch
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


@register
class BalancedL1Loss(Loss):
    """L1 whose gradients rise faster near zero (Pang et al., Libra R-CNN, 2019), elementwise.

    With d = |pred - target| the derivative is alpha * log(b d / beta + 1) below ``beta`` and gamma above,
    where b = e^(gamma / alpha) - 1 makes it continuous.

    Args:
        alpha: of inliers' gradients: the smaller, the more they count.
        gamma: bound of the gradient.
        beta: where the parts meet.
        loss_weight: factor of the whole.
    """

    def __init__(
        self, *, alpha: float = 0.5, gamma: float = 1.5, beta: float = 1.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        if min(alpha, gamma, beta) <= 0:
            raise ValueError(f"alpha, gamma and beta must be above 0, got {alpha}, {gamma} and {beta}")
        self.alpha, self.gamma, self.beta = alpha, gamma, beta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The shape of ``pred``."""
        self.check_same_shape(pred, target)
        d = (pred - target).abs()
        b = math.exp(self.gamma / self.alpha) - 1
        inner = self.alpha / b * (b * d + 1) * (b * d / self.beta + 1).log() - self.alpha * d
        outer = self.gamma * d + self.gamma / b - self.alpha * self.beta
        return torch.where(d < self.beta, inner, outer)
