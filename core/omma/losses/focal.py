"""Focal loss (Lin et al., Focal Loss for Dense Object Detection, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.losses.base import Loss
from omma.ops.focal_loss import sigmoid_focal_loss
from omma.registry import register


@register
class FocalLoss(Loss):
    """Sigmoid focal loss of logits (N, C) and labels (N,) int64, where label C is background: (N, C).

    Args:
        alpha: weight of the positives, 1 - alpha that of the negatives.
        gamma: how fast easy examples fade.
        activated: predictions are probabilities instead of logits.
        loss_weight: factor of the whole.
    """

    def __init__(
        self, *, alpha: float = 0.25, gamma: float = 2.0, activated: bool = False, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        self.alpha = alpha
        self.gamma = gamma
        self.activated = activated

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, C)."""
        if not self.activated:
            return sigmoid_focal_loss(pred, target, alpha=self.alpha, gamma=self.gamma)
        hot = target[:, None] == torch.arange(pred.shape[1], device=pred.device)
        wrong = torch.where(hot, 1 - pred, pred)
        entropy = F.binary_cross_entropy(pred, hot.to(pred.dtype), reduction="none")
        return torch.where(hot, self.alpha, 1 - self.alpha) * wrong**self.gamma * entropy
