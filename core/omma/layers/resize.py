"""Feature maps and logits at other sizes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def resize(x: Tensor, size: tuple[int, int] | Tensor, *, align_corners: bool = False) -> Tensor:
    """(N, C, H, W) at ``size``, (H', W') or that of another tensor, bilinear; itself if it has it already."""
    wanted = tuple(size.shape[-2:]) if isinstance(size, Tensor) else size
    if tuple(x.shape[-2:]) == wanted:
        return x
    return F.interpolate(x, wanted, mode="bilinear", align_corners=align_corners)
