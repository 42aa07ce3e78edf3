"""The contract of every loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from omma.ops.precision import at_least_float32


class Loss(nn.Module, ABC):
    """Element losses, weighted, summed and divided by an average factor.

    Half-precision predictions are taken to float32 first, under autocast too. Of no elements the loss is a
    zero that keeps the graph, so that every parameter has a gradient in every step.

    Args:
        loss_weight: factor of the whole.
    """

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @abstractmethod
    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """The unreduced loss of ``pred`` in float32 or better."""

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
            weight: factor of each element, broadcastable to the elements: rows of (N, C) take (N, 1).
            avg_factor: what the sum is divided by, greater than 0; null: the number of elements.

        Raises:
            ValueError: the shapes don't fit each other.
        """
        with torch.autocast(pred.device.type, enabled=False):
            elements = self.elements(at_least_float32(pred), target)
            if weight is not None:
                weighted = elements * weight
                if weighted.shape != elements.shape:
                    raise ValueError(
                        f"{type(self).__name__}: weight must broadcast to the elements "
                        f"{tuple(elements.shape)}, got {tuple(weight.shape)}"
                    )
                elements = weighted
            total = elements.sum()
            return self.loss_weight * total / (max(elements.numel(), 1) if avg_factor is None else avg_factor)

    def check_same_shape(self, pred: Tensor, target: Tensor) -> None:
        """For losses that compare number by number: a silent broadcast would average over wrong pairs.

        Raises:
            ValueError: ``pred`` and ``target`` differ in shape.
        """
        if pred.shape != target.shape:
            raise ValueError(
                f"{type(self).__name__}: target must have the shape of pred {tuple(pred.shape)}, "
                f"got {tuple(target.shape)}"
            )
