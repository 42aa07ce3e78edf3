"""Seesaw loss for classes of very different frequency (Wang et al., 2020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.losses.base import Loss
from omma.registry import register


@register
class SeesawLoss(Loss):
    """Softmax over C classes whose rare ones are pushed down less, and softmax of object and background.

    Logits are (N, C + 2): the classes, object, background. Labels (N,) are int64, C for background.

    Args:
        num_classes: C.
        mitigation: exponent p on how much rarer another class was so far.
        compensation: exponent q on how much higher another class is scored than the right one.
        least_score: of the right class in that ratio.
        loss_weight: factor of the whole.
    """

    cum_samples: Tensor
    """(C + 1,) samples of each class so far."""

    def __init__(
        self,
        *,
        num_classes: int,
        mitigation: float = 0.8,
        compensation: float = 2.0,
        least_score: float = 1e-2,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        self.num_classes = num_classes
        self.mitigation, self.compensation, self.least_score = mitigation, compensation, least_score
        self.register_buffer("cum_samples", torch.zeros(num_classes + 1))

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N,). Also counts the samples of each class."""
        with torch.no_grad():
            self.cum_samples += target.bincount(minlength=self.num_classes + 1).to(self.cum_samples)
        background = target == self.num_classes
        objectness = F.cross_entropy(pred[:, -2:], background.long(), reduction="none")
        logits, label = pred[:, :-2], target.clamp(max=self.num_classes - 1)
        hot = F.one_hot(label, self.num_classes)
        logits = logits + self._factors(logits.detach(), label).log() * (1 - hot)
        classes = F.cross_entropy(logits, label, reduction="none")
        return objectness + classes * ~background

    def _factors(self, logits: Tensor, label: Tensor) -> Tensor:
        """(N, C), what the exponential of each class that isn't the right one is multiplied by."""
        seen = self.cum_samples[:-1].clamp(min=1).to(logits)
        rarity = (seen / seen[label, None]).clamp(max=1) ** self.mitigation
        scores = logits.softmax(dim=1)
        own = scores.gather(1, label[:, None]).clamp(min=self.least_score)
        return rarity * (scores / own).clamp(min=1) ** self.compensation

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (N, C + 2) -> probabilities (N, C): of an object times of its class."""
        return logits[:, :-2].softmax(dim=1) * logits[:, -2:].softmax(dim=1)[:, :1]
