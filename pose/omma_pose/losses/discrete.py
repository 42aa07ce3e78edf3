"""How unlike two lines of bins are."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omma.losses import Loss
from omma.registry import register


@register
class KLDiscretLoss(Loss):
    """Kullback-Leibler divergence of softmaxed bins from their targets, the mean over the bins of a line.

    (Li et al., SimCC, 2022; with ``beta`` and ``label_softmax`` Jiang et al., RTMPose, 2023.)

    Args:
        beta: factor of predictions, and of targets that are softmaxed: the larger, the narrower.
        label_softmax: targets are logits too.
        loss_weight: factor of the whole.

    Raises:
        ValueError: ``beta`` isn't positive.
    """

    def __init__(self, *, beta: float = 1.0, label_softmax: bool = False, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        if beta <= 0:
            raise ValueError(f"beta must be positive, got {beta}")
        self.beta, self.label_softmax = beta, label_softmax

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(..., bins) -> (...)."""
        self.check_same_shape(pred, target)
        labels = (target * self.beta).softmax(dim=-1) if self.label_softmax else target
        return F.kl_div((pred * self.beta).log_softmax(dim=-1), labels, reduction="none").mean(dim=-1)
