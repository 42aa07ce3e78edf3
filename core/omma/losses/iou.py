"""Losses on the overlap of box pairs, (N, 4) xyxy each: elements (N,)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from omma.losses.base import Loss
from omma.ops.boxes import elementwise_giou, elementwise_iou
from omma.registry import register


@register
class IoULoss(Loss):
    """-log IoU (Yu et al., UnitBox, 2016), 1 - IoU, or 1 - IoU^2 (Ge et al., YOLOX, 2021).

    Args:
        mode: ``log``, ``linear`` or ``square``.
        eps: smallest IoU in the logarithm.
        loss_weight: factor of the whole.
    """

    def __init__(
        self, *, mode: Literal["log", "linear", "square"] = "log", eps: float = 1e-6, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        self.mode = mode
        self.eps = eps

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N,)."""
        self.check_same_shape(pred, target)
        iou = elementwise_iou(pred, target).clamp(min=self.eps)
        if self.mode == "log":
            return -iou.log()
        return 1 - (iou if self.mode == "linear" else iou.square())


@register
class GIoULoss(Loss):
    """1 - generalised IoU (Rezatofighi et al., 2019)."""

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N,)."""
        self.check_same_shape(pred, target)
        return 1 - elementwise_giou(pred, target)
