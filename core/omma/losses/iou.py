"""Losses on the overlap of box pairs, (N, 4) xyxy each: elements (N,)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

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


@register
class BoundedIoULoss(Loss):
    """Smooth L1 of 1 - the best IoU that a shift or a size alone allows (Tychsen-Smith and Petersson, 2017).

    The shifts along x and y and the width and height count by themselves: elements (N, 4).

    Args:
        beta: where the quadratic part and the linear one meet.
        eps: keeps divisors above 0, pixels.
        loss_weight: factor of the whole.
    """

    def __init__(self, *, beta: float = 0.2, eps: float = 1e-3, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        if beta <= 0:
            raise ValueError(f"beta must be greater than 0, got {beta}")
        self.beta, self.eps = beta, eps

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, 4)."""
        self.check_same_shape(pred, target)
        size, wanted = pred[:, 2:] - pred[:, :2], target[:, 2:] - target[:, :2]
        shift = ((target[:, :2] + target[:, 2:]) - (pred[:, :2] + pred[:, 2:])).abs()
        by_shift = ((wanted - shift) / (wanted + shift + self.eps)).clamp(min=0)
        by_size = torch.minimum(wanted / (size + self.eps), size / (wanted + self.eps))
        distance = 1 - torch.cat([by_shift, by_size], dim=1)
        return F.smooth_l1_loss(distance, torch.zeros_like(distance), reduction="none", beta=self.beta)
