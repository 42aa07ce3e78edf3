"""Cross-entropy over classes and over independent yes/no decisions."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omma.losses.base import Loss
from omma.registry import register


@register
class CrossEntropyLoss(Loss):
    """Softmax cross-entropy of logits (N, C) and labels (N,) int64, or shares of the classes (N, C): (N,)."""

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N,)."""
        return F.cross_entropy(pred, target, reduction="none")


@register
class BinaryCrossEntropyLoss(Loss):
    """Sigmoid cross-entropy of logits and targets in 0..1 of the same shape: elements of that shape."""

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The shape of ``pred``."""
        self.check_same_shape(pred, target)
        return F.binary_cross_entropy_with_logits(pred, target.to(pred.dtype), reduction="none")
