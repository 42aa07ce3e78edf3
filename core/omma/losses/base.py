"""The contract of every loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """Element losses, weighted, summed and divided by an average factor.

    Half-precision predictions are taken to float32 first. Of no elements the loss is a zero that keeps the
    graph, so that every parameter has a gradient in every step.

    Args:
        loss_weight: factor of the whole.
    """

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @abstractmethod
    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The unreduced loss of float32 ``pred``."""

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Scalar loss.

        Args:
            pred: as the subclass says.
            target: as the subclass says.
            weight: factor of each element, broadcastable to the elements.
            avg_factor: what the sum is divided by; null: the number of elements.
        """
        with torch.autocast(pred.device.type, enabled=False):
            elements = self.elements(pred.float(), target)
            if weight is not None:
                elements = elements * weight
            total = elements.sum()
            return self.loss_weight * total / (max(elements.numel(), 1) if avg_factor is None else avg_factor)
