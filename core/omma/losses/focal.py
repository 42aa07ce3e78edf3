"""Focal loss (Lin et al., Focal Loss for Dense Object Detection, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.losses.base import Loss
from omma.registry import register


@register
class FocalLoss(Loss):
    """Sigmoid focal loss of logits (N, C) and labels (N,) int64, where label C is background: (N, C).

    Args:
        alpha: weight of the positives, 1 - alpha that of the negatives.
        gamma: how fast easy examples fade.
        loss_weight: factor of the whole.
    """

    def __init__(self, *, alpha: float = 0.25, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        self.alpha = alpha
        self.gamma = gamma

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, C)."""
        hot = target[:, None] == torch.arange(pred.shape[1], device=pred.device)
        # The logit of being wrong: everything below is stable in it, however sure the model is.
        wrong = torch.where(hot, -pred, pred)
        balance = torch.where(hot, self.alpha, 1 - self.alpha)
        return balance * (self.gamma * F.logsigmoid(wrong)).exp() * F.softplus(wrong)
