"""Losses: ``loss(pred, target, weight=..., avg_factor=...)`` gives one weighted scalar."""

from omma.losses.base import Loss
from omma.losses.cross_entropy import BinaryCrossEntropyLoss, CrossEntropyLoss
from omma.losses.focal import FocalLoss
from omma.losses.iou import GIoULoss, IoULoss
from omma.losses.regression import L1Loss, SmoothL1Loss

__all__ = [
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "GIoULoss",
    "IoULoss",
    "L1Loss",
    "Loss",
    "SmoothL1Loss",
]
