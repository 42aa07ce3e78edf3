"""Losses on the overlap of classes as a whole, which small ones need: Dice, Tversky, Lovasz."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.losses import DiceLoss
from omma.registry import register
from omma.structures import IGNORED
from omma_segmentation.losses.base import PixelLoss


def _shares(logits: Tensor, labels: Tensor, *, per_image: bool) -> tuple[Tensor, Tensor]:
    """Probabilities and one-hot truth, zero at pixels that don't count.

    Both are (N, C, P), or (1, C, N * P) unless each image counts by itself.
    """
    valid = (labels != IGNORED).flatten(1)[:, None]
    truth = F.one_hot(labels.where(labels != IGNORED, 0).flatten(1), logits.shape[1]).transpose(1, 2)
    shares = logits.flatten(2).softmax(1) * valid, truth.to(logits.dtype) * valid
    if per_image:
        return shares
    share, truth = (each.transpose(0, 1).flatten(1)[None] for each in shares)
    return share, truth


@register
class PixelDiceLoss(PixelLoss):
    """1 - (2 sum(p t) + s) / (sum(p^2) + sum(t^2) + s) of images and classes (Milletari et al., 2016).

    Args:
        smooth: s; keeps classes that aren't there from being divided by zero.
        per_image: sum over each image by itself; otherwise over the batch as one, as metrics do, so that a
            class costs nothing where an image lacks it (nnU-Net's batch Dice; Isensee et al., 2021).
        loss_weight: factor of the whole.
    """

    key = "loss_dice"

    def __init__(self, *, smooth: float = 1.0, per_image: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        self.smooth, self.per_image = smooth, per_image

    def compute(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean."""
        share, truth = _shares(logits, labels, per_image=self.per_image)
        both = (share * truth).sum(2)
        sizes = share.square().sum(2) + truth.square().sum(2)
        return (1 - (2 * both + self.smooth) / (sizes + self.smooth)).mean()


@register
class PixelBinaryDiceLoss(PixelLoss):
    """Dice loss of sigmoid probabilities, all classes of an image as one mask, averaged over images.

    Args:
        eps: added to each sum of squares.
        loss_weight: factor of the whole.
    """

    key = "loss_dice"

    def __init__(self, *, eps: float = 1e-3, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        self.dice = DiceLoss(eps=eps)

    def compute(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean."""
        valid = (labels != IGNORED)[:, None]
        truth = F.one_hot(labels.where(valid[:, 0], 0), logits.shape[1]).permute(0, 3, 1, 2)
        return self.dice(logits.masked_fill(~valid, -torch.inf), truth * valid) * valid.any()


@register
class PixelTverskyLoss(PixelLoss):
    """1 - (TP + s) / (TP + a FP + b FN + s), averaged over images and classes (Salehi et al., 2017).

    Args:
        false_positive: a.
        false_negative: b; more of it than of a finds more of a rare class, and more that isn't there.
        smooth: s.
        per_image: sum over each image by itself; otherwise over the batch as one.
        loss_weight: factor of the whole.
    """

    key = "loss_tversky"

    def __init__(
        self,
        *,
        false_positive: float = 0.3,
        false_negative: float = 0.7,
        smooth: float = 1.0,
        per_image: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        self.false_positive, self.false_negative = false_positive, false_negative
        self.smooth, self.per_image = smooth, per_image

    def compute(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean."""
        share, truth = _shares(logits, labels, per_image=self.per_image)
        right = (share * truth).sum(2)
        wrong = self.false_positive * (share.sum(2) - right) + self.false_negative * (truth.sum(2) - right)
        return (1 - (right + self.smooth) / (right + wrong + self.smooth)).mean()


@register
class LovaszLoss(PixelLoss):
    """The Lovasz extension of 1 - IoU on softmax probabilities (Berman et al., 2018).

    Args:
        classes: average over those that are ``present`` in the labels, or over ``all``.
        per_image: take the IoU of each image by itself; otherwise of the batch as one.
        loss_weight: factor of the whole.
    """

    key = "loss_lovasz"

    def __init__(
        self,
        *,
        classes: Literal["present", "all"] = "present",
        per_image: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight=loss_weight)
        self.classes, self.per_image = classes, per_image

    def compute(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over classes, and over images if ``per_image``."""
        share = logits.softmax(1)
        if self.per_image:
            pairs = zip(share.flatten(2).unbind(0), labels.flatten(1).unbind(0))
            return torch.stack([self._of_pixels(p, t) for p, t in pairs]).mean()
        return self._of_pixels(share.transpose(0, 1).flatten(1), labels.flatten())

    def _of_pixels(self, share: Tensor, labels: Tensor) -> Tensor:
        """Of probabilities (C, P) and labels (P,)."""
        valid = labels != IGNORED
        share, labels = share[:, valid], labels[valid]
        truth = F.one_hot(labels, len(share)).T
        chosen = truth.any(1) if self.classes == "present" else torch.ones_like(truth[:, 0], dtype=torch.bool)
        if not len(labels) or not chosen.any():
            return share.sum() * 0
        truth = truth[chosen].to(share.dtype)
        errors, order = (truth - share[chosen]).abs().sort(dim=1, descending=True)
        return (errors * _lovasz_gradient(truth.gather(1, order))).sum(1).mean()


def _lovasz_gradient(truth: Tensor) -> Tensor:
    """How much each pixel (C, P), in falling order of its error, adds to 1 - IoU."""
    total = truth.sum(1, keepdim=True)
    jaccard = 1 - (total - truth.cumsum(1)) / (total + (1 - truth).cumsum(1))
    return jaccard.diff(dim=1, prepend=torch.zeros_like(total))
