"""Background that looks most like objects (Liu et al., SSD: Single Shot MultiBox Detector, 2015)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def background_loss(logits: Tensor) -> Tensor:
    """Cross-entropy (N, P) of logits (N, P, C + 1) against background, the last class."""
    return -F.log_softmax(logits.float(), dim=2)[..., -1]


def hardest(losses: Tensor, negative: Tensor, counts: Tensor) -> Tensor:
    """(N, P) bool: the ``counts`` (N,) priors of each image with the largest loss, of those ``negative``."""
    order = losses.where(negative, -math.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.arange(losses.shape[1], device=losses.device).expand_as(order)
    return negative & (torch.empty_like(order).scatter(1, order, rank) < counts[:, None])
