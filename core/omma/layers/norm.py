"""Normalisation layers by one word."""

from __future__ import annotations

from typing import Literal

from torch import nn

NormKind = Literal["bn", "sync_bn", "gn"]
"""Batch norm, batch norm over all processes, group norm with 32 groups."""


def make_norm(kind: NormKind, channels: int) -> nn.Module:
    """A normalisation layer for (N, ``channels``, H, W)."""
    if kind == "gn":
        return nn.GroupNorm(32, channels)
    return nn.BatchNorm2d(channels) if kind == "bn" else nn.SyncBatchNorm(channels)


def norm_name(kind: NormKind) -> str:
    """The attribute that OpenMMLab's checkpoints store such a layer under."""
    return "gn" if kind == "gn" else "bn"
