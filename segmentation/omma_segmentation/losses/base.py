"""The contract of losses on dense logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from omma.ops.precision import at_least_float32


class PixelLoss(nn.Module, ABC):
    """One number from the logits of all pixels and their classes.

    Half-precision logits are taken to float32 first, under autocast too. Of no labelled pixel the loss is a
    zero that keeps the graph.

    Args:
        loss_weight: factor of the whole.
    """

    key: ClassVar[str]
    """Name among the losses of a head; losses of the same name are summed."""

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @abstractmethod
    def compute(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss without its weight."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (N, C, H, W) and labels (N, H, W) int64, IGNORED where they don't count."""
        with torch.autocast(logits.device.type, enabled=False):
            return self.loss_weight * self.compute(at_least_float32(logits), labels)
