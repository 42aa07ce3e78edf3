"""Classification against how good the box is, instead of yes or no: logits (N, C), targets (N, C) in 0..1."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omma.losses.base import Loss
from omma.registry import register


@register
class QualityFocalLoss(Loss):
    """Cross-entropy times |target - probability|^beta (Li et al., Generalized Focal Loss, 2020).

    Args:
        beta: how fast well-estimated examples fade.
        activated: predictions are probabilities instead of logits.
        loss_weight: factor of the whole.
    """

    def __init__(self, *, beta: float = 2.0, activated: bool = False, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        self.beta = beta
        self.activated = activated

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, C)."""
        self.check_same_shape(pred, target)
        target = target.to(pred.dtype)
        if self.activated:
            entropy = F.binary_cross_entropy(pred, target, reduction="none")
            return entropy * (target - pred).abs().pow(self.beta)
        entropy = F.binary_cross_entropy_with_logits(pred, target, reduction="none")
        return entropy * (target - pred.sigmoid()).abs().pow(self.beta)


@register
class VarifocalLoss(Loss):
    """Cross-entropy, weighted by the target where it isn't 0 and faded as focal loss elsewhere.

    Zhang et al., VarifocalNet, 2020.

    Args:
        alpha: weight of the negatives.
        gamma: how fast easy negatives fade.
        loss_weight: factor of the whole.
    """

    def __init__(self, *, alpha: float = 0.75, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        self.alpha = alpha
        self.gamma = gamma

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, C)."""
        self.check_same_shape(pred, target)
        target = target.to(pred.dtype)
        entropy = F.binary_cross_entropy_with_logits(pred, target, reduction="none")
        fade = self.alpha * pred.sigmoid().pow(self.gamma)
        return entropy * target.where(target > 0, fade)
