"""Losses on dense logits: ``loss(logits, labels)`` gives one weighted scalar."""

from omma_segmentation.losses.base import PixelLoss
from omma_segmentation.losses.boundary import BoundaryCrossEntropy, label_boundaries
from omma_segmentation.losses.cross_entropy import HardPixels, PixelBinaryCrossEntropy, PixelCrossEntropy
from omma_segmentation.losses.focal import PixelFocalLoss
from omma_segmentation.losses.overlap import LovaszLoss, PixelBinaryDiceLoss, PixelDiceLoss, PixelTverskyLoss

__all__ = [
    "BoundaryCrossEntropy",
    "HardPixels",
    "LovaszLoss",
    "PixelBinaryCrossEntropy",
    "PixelBinaryDiceLoss",
    "PixelCrossEntropy",
    "PixelDiceLoss",
    "PixelFocalLoss",
    "PixelLoss",
    "PixelTverskyLoss",
    "label_boundaries",
]
