"""Normalisation layers by one word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers.sync_bn import SyncBatchNorm

NormName = Literal["bn", "sync_bn", "gn"]


@dataclass(kw_only=True, frozen=True)
class NormForm:
    """A norm with other settings than the usual ones."""

    kind: NormName = "bn"
    eps: float = 1e-5
    momentum: float = 0.1
    """Weight of the new statistics of batch norm."""
    groups: int = 32
    """Of group norm."""


NormKind = NormName | NormForm
"""Batch norm, batch norm over all processes, group norm with 32 groups; or one with other settings."""


def make_norm(kind: NormKind, channels: int) -> nn.Module:
    """A normalisation layer for (N, ``channels``, H, W)."""
    form = kind if isinstance(kind, NormForm) else NormForm(kind=kind)
    if form.kind == "gn":
        return nn.GroupNorm(form.groups, channels, eps=form.eps)
    batch_norm = nn.BatchNorm2d if form.kind == "bn" else SyncBatchNorm
    return batch_norm(channels, eps=form.eps, momentum=form.momentum)


def norm_name(kind: NormKind) -> str:
    """The attribute that OpenMMLab's checkpoints store such a layer under."""
    name = kind.kind if isinstance(kind, NormForm) else kind
    return "gn" if name == "gn" else "bn"


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W), at each position by itself."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        x = input.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)
