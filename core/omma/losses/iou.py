"""Losses on the overlap of box pairs, (N, 4) xyxy each: elements (N,)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from omma.losses.base import Loss
from omma.ops.boxes import elementwise_giou, elementwise_iou
from omma.registry import register


@register
class IoULoss(Loss):
    """-log IoU (Yu et al., UnitBox, 2016) or 1 - IoU.

    Args:
        mode: ``log`` or ``linear``.
        eps: smallest IoU in the logarithm.
        loss_weight: factor of the whole.
    """

    def __init__(
        self, *, mode: Literal["log", "linear"] = "log", eps: float = 1e-6, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        self.mode = mode
        self.eps = eps

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N,)."""
        self.check_same_shape(pred, target)
        iou = elementwise_iou(pred, target).clamp(min=self.eps)
        return -iou.log() if self.mode == "log" else 1 - iou


@register
class GIoULoss(Loss):
    """1 - generalised IoU (Rezatofighi et al., 2019)."""

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N,)."""
        self.check_same_shape(pred, target)
        return 1 - elementwise_giou(pred, target)
