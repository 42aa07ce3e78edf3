"""Focal loss of pixels (Lin et al., 2017)."""

from __future__ import annotations

from torch import Tensor

from omma.ops import sigmoid_focal_loss
from omma.registry import register
from omma.structures import IGNORED
from omma_segmentation.losses.base import PixelLoss


@register
class PixelFocalLoss(PixelLoss):
    """Sigmoid focal loss of each class against all others, averaged over labelled pixels and classes.

    Args:
        gamma: how fast the weight of easy pixels falls.
        alpha: weight of the class that is there against 1 - alpha of those that aren't.
        loss_weight: factor of the whole.
    """

    key = "loss_focal"

    def __init__(self, *, gamma: float = 2.0, alpha: float = 0.5, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        self.gamma, self.alpha = gamma, alpha

    def compute(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean."""
        valid = labels != IGNORED
        picked = logits.permute(0, 2, 3, 1)[valid]  # (P, C)
        if not len(picked):
            return logits.sum() * 0
        return sigmoid_focal_loss(picked, labels[valid], alpha=self.alpha, gamma=self.gamma).mean()
