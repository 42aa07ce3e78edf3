"""Losses on dense logits: ``loss(logits, labels)`` gives one weighted scalar."""

from omma_segmentation.losses.base import PixelLoss
from omma_segmentation.losses.cross_entropy import HardPixels, PixelBinaryCrossEntropy, PixelCrossEntropy

__all__ = ["HardPixels", "PixelBinaryCrossEntropy", "PixelCrossEntropy", "PixelLoss"]
