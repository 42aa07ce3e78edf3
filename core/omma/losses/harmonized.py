"""Losses in which examples of equal difficulty weigh as much as all others (Li et al., GHM, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.losses.base import Loss
from omma.registry import register


class _Harmonized(Loss):
    """Weighs each element by how few have gradients of its length.

    Args:
        bins: that the lengths, 0..1, are counted in.
        momentum: of the counts over steps.
        loss_weight: factor of the whole.
    """

    acc_sum: Tensor

    def __init__(self, *, bins: int, momentum: float, loss_weight: float) -> None:
        super().__init__(loss_weight=loss_weight)
        if bins < 1 or not 0 <= momentum < 1:
            raise ValueError(f"need bins >= 1 and 0 <= momentum < 1, got {bins} and {momentum}")
        self.bins, self.momentum = bins, momentum
        self.register_buffer("acc_sum", torch.zeros(bins))

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """As any loss, except that ``avg_factor`` is not used: the weights say how much counts."""
        return super().forward(pred, target, weight=weight, avg_factor=1.0)

    @torch.no_grad()
    def density(self, lengths: Tensor) -> Tensor:
        """The elements' weights, of the shape of the gradient ``lengths`` in 0..1; they sum up to about 1."""
        place = (lengths * self.bins).long().clamp(max=self.bins - 1)
        count = torch.bincount(place.flatten(), minlength=self.bins).to(self.acc_sum.dtype)
        seen = count > 0
        if self.training:
            moved = self.momentum * self.acc_sum + (1 - self.momentum) * count
            self.acc_sum.copy_(torch.where(seen, moved, self.acc_sum))
        usual = torch.where(self.acc_sum > 0, self.acc_sum, count)
        return (1 / usual.clamp(min=torch.finfo(usual.dtype).tiny) / seen.sum().clamp(min=1))[place]


@register
class GHMClassificationLoss(_Harmonized):
    """Sigmoid cross-entropy of logits (N, C) and labels (N,) int64, where label C is background: (N, C).

    Args:
        bins: that the lengths of gradients are counted in.
        momentum: of the counts over steps.
        loss_weight: factor of the whole.
    """

    def __init__(self, *, bins: int = 30, momentum: float = 0.75, loss_weight: float = 1.0) -> None:
        super().__init__(bins=bins, momentum=momentum, loss_weight=loss_weight)

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, C)."""
        hot = (target[:, None] == torch.arange(pred.shape[1], device=pred.device)).to(pred.dtype)
        entropy = F.binary_cross_entropy_with_logits(pred, hot, reduction="none")
        return entropy * self.density((pred.detach().sigmoid() - hot).abs())


@register
class GHMRegressionLoss(_Harmonized):
    """sqrt(d^2 + mu^2) - mu of the differences d, elementwise.

    Args:
        mu: where the loss turns from quadratic to linear.
        bins: that the lengths of gradients are counted in.
        momentum: of the counts over steps.
        loss_weight: factor of the whole.
    """

    def __init__(
        self, *, mu: float = 0.02, bins: int = 10, momentum: float = 0.7, loss_weight: float = 1.0
    ) -> None:
        super().__init__(bins=bins, momentum=momentum, loss_weight=loss_weight)
        self.mu = mu

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The shape of ``pred``."""
        self.check_same_shape(pred, target)
        length = ((pred - target).square() + self.mu**2).sqrt()
        return (length - self.mu) * self.density(((pred - target) / length).detach().abs())
