"""Boundaries between classes, and the loss of a network that finds them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.registry import register
from omma.structures import IGNORED
from omma_segmentation.losses.base import PixelLoss


@register
class BoundaryCrossEntropy(PixelLoss):
    """Sigmoid cross-entropy in which the rarer of both kinds weighs the more (Xie and Tu, HED, 2015).

    Of a batch with P pixels on boundaries and Q off them, the former weigh Q / (P + Q) each and the latter
    P / (P + Q); the mean is over all pixels.

    Args:
        loss_weight: factor of the whole.
    """

    key = "loss_bd"

    def compute(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of logits (N, 1, H, W) and labels (N, H, W): 1 on a boundary, 0 off it."""
        on = labels == 1
        share = on.float().sum() / (labels != IGNORED).sum().clamp(min=1)
        weight = torch.where(on, 1 - share, share) * (labels != IGNORED)
        return F.binary_cross_entropy_with_logits(logits[:, 0], on.to(logits.dtype), weight.to(logits.dtype))


def label_boundaries(labels: Tensor, width: int) -> Tensor:
    """Where labels (N, H, W) change, as (N, H, W) int64 of ones and zeros.

    Of two pixels with classes that touch, straight or by a corner, the lower one is on a boundary if they are
    in one column, the left one if they are in one row, the upper one otherwise. These pixels are widened to
    squares of ``width`` pixels, whose centre lies half a pixel to the lower right if ``width`` is even.
    """
    edges = torch.zeros_like(labels, dtype=torch.bool)
    edges[:, 1:] |= _differ(labels[:, 1:], labels[:, :-1])
    edges[:, :, :-1] |= _differ(labels[:, :, :-1], labels[:, :, 1:])
    edges[:, :-1, :-1] |= _differ(labels[:, :-1, :-1], labels[:, 1:, 1:])
    edges[:, :-1, 1:] |= _differ(labels[:, :-1, 1:], labels[:, 1:, :-1])
    before, after = width // 2, width - 1 - width // 2
    padded = F.pad(edges[:, None].float(), (before, after, before, after))
    return F.max_pool2d(padded, width, stride=1)[:, 0].long()


def _differ(a: Tensor, b: Tensor) -> Tensor:
    """Where both have a class, and not the same."""
    return (a != b) & (a != IGNORED) & (b != IGNORED)
