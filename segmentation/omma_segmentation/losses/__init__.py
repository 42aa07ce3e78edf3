"""Losses on dense logits: ``loss(logits, labels)`` gives one weighted scalar."""

from omma_segmentation.losses.base import PixelLoss
from omma_segmentation.losses.cross_entropy import HardPixels, PixelBinaryCrossEntropy, PixelCrossEntropy
from omma_segmentation.losses.focal import PixelFocalLoss
from omma_segmentation.losses.overlap import LovaszLoss, PixelDiceLoss, PixelTverskyLoss

__all__ = [
    "HardPixels",
    "LovaszLoss",
    "PixelBinaryCrossEntropy",
    "PixelCrossEntropy",
    "PixelDiceLoss",
    "PixelFocalLoss",
    "PixelLoss",
    "PixelTverskyLoss",
]
