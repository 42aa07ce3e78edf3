"""Where the taps of a kernel lie, for heads that place them on boxes."""

from __future__ import annotations

import torch
from torch import Tensor


def kernel_taps(size: int, like: Tensor) -> Tensor:
    """(y, x) of each tap of a square kernel of odd ``size`` from its centre, row by row: (1, 2 size^2, 1, 1).

    The dtype and device are those of ``like``.
    """
    places = torch.arange(size, dtype=like.dtype, device=like.device) - size // 2
    y, x = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([y, x], dim=-1).reshape(1, -1, 1, 1)


def scale_gradient(x: Tensor, share: float) -> Tensor:
    """``x`` itself, of whose gradient only ``share`` passes."""
    return share * x + (1 - share) * x.detach()
