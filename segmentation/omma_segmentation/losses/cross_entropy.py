"""Cross-entropy of pixels, over all of them or over the hardest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.registry import register
from omma.structures import IGNORED
from omma_segmentation.losses.base import PixelLoss

Over = Literal["all", "labelled"]
OverHard = Literal["all", "labelled", "hard"]


@dataclass(kw_only=True, frozen=True)
class HardPixels:
    """Online hard example mining: only pixels that are still wrong count (Shrivastava et al., 2016)."""

    score: float = 0.7
    """A pixel is hard while the probability of its class is below this."""
    least: int = 100_000
    """Pixels of each image that count at the least, the hardest ones."""
    batch: bool = False
    """Count so many of the whole batch at the least, not of each image."""

    def weights(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N, H, W): 1 for hard pixels, 0 for the others."""
        with torch.no_grad():
            valid = labels != IGNORED
            right = logits.softmax(1).gather(1, labels.where(valid, 0)[:, None])[:, 0]
            scores = right[valid]
            if not len(scores):
                return torch.zeros_like(right)
            least = self.least * (1 if self.batch else len(labels))
            kth = scores.sort().values[min(least, len(scores) - 1)]
            return (valid & (right < kth.clamp(min=self.score))).to(right.dtype)


@register
class PixelCrossEntropy(PixelLoss):
    """Softmax cross-entropy.

    Args:
        class_weight: factor of each class; null: all alike.
        over: the mean is over ``all`` pixels, with zeros for those without a label, as published recipes have
            it; or over the ``labelled`` ones, each counting as its class weight says; or over the ``hard``
            ones, each counting once.
        hard: count hard pixels only; null: all.
        loss_weight: factor of the whole.

    Raises:
        ValueError: the mean is over hard pixels, but ``hard`` doesn't say which these are.
    """

    key = "loss_ce"
    class_weight: Tensor | None

    def __init__(
        self,
        *,
        class_weight: tuple[float, ...] | None = None,
        over: OverHard = "all",
        hard: HardPixels | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        if over == "hard" and hard is None:
            raise ValueError("a mean over hard pixels needs to know which these are: hard is null")
        self.over, self.hard = over, hard
        weight = None if class_weight is None else torch.tensor(class_weight)
        self.register_buffer("class_weight", weight, persistent=False)

    def compute(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean."""
        weight = self.class_weight
        if weight is not None and len(weight) != logits.shape[1]:
            raise ValueError(f"class_weight has {len(weight)} numbers for {logits.shape[1]} classes")
        losses = F.cross_entropy(logits, labels, weight, reduction="none", ignore_index=IGNORED)
        if self.hard is not None:
            chosen = self.hard.weights(logits, labels)
            losses = losses * chosen
            if self.over == "hard":
                return losses.sum() / chosen.sum().clamp(min=1)
        if self.over == "all":
            return losses.mean()
        valid = labels != IGNORED
        counted = valid.sum() if weight is None else weight[labels[valid]].sum()
        return losses.sum() / counted.clamp(min=torch.finfo(losses.dtype).eps)


@register
class PixelBinaryCrossEntropy(PixelLoss):
    """Sigmoid cross-entropy of each class against all others, averaged over pixels and classes.

    Args:
        class_weight: factor of each class; null: all alike.
        over: as for softmax cross-entropy.
        loss_weight: factor of the whole.
    """

    key = "loss_ce"
    class_weight: Tensor | None

    def __init__(
        self,
        *,
        class_weight: tuple[float, ...] | None = None,
        over: Over = "all",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        self.over = over
        weight = None if class_weight is None else torch.tensor(class_weight).view(1, -1, 1, 1)
        self.register_buffer("class_weight", weight, persistent=False)

    def compute(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean."""
        valid = labels != IGNORED
        truth = F.one_hot(labels.where(valid, 0), logits.shape[1]).permute(0, 3, 1, 2)
        losses = F.binary_cross_entropy_with_logits(logits, truth.to(logits.dtype), reduction="none")
        losses = losses * valid[:, None]
        if self.class_weight is not None:
            losses = losses * self.class_weight
        if self.over == "all":
            return losses.mean()
        return losses.sum() / (valid.sum() * logits.shape[1]).clamp(min=1)
