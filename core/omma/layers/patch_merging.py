"""Halving a map of tokens (Liu et al., Swin Transformer, 2021)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

MergeOrder = Literal["channels", "columns"]
"""How the values of 2 x 2 positions follow each other: channel by channel, each row by row, as OpenMMLab's
networks for images merge; or position by position, column by column, as the authors' do."""


class PatchMerging(nn.Module):
    """Each 2 x 2 positions become one of twice the channels: (..., H, W, C) to (..., H / 2, W / 2, 2 C).

    Args:
        channels: C.
        order: how the values of the positions follow each other.
    """

    def __init__(self, channels: int, *, order: MergeOrder = "channels") -> None:
        super().__init__()
        self.order: MergeOrder = order
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., H, W, C) -> (..., ceil(H / 2), ceil(W / 2), 2 C)."""
        x = F.pad(x, (0, 0, 0, x.shape[-2] % 2, 0, x.shape[-3] % 2))
        x = x.unflatten(-2, (-1, 2)).unflatten(-4, (-1, 2))  # (..., H / 2, row, W / 2, column, C)
        *rest, height, row, width, column, channel = range(x.ndim)
        values = (channel, row, column) if self.order == "channels" else (column, row, channel)
        return self.reduction(self.norm(x.permute(*rest, height, width, *values).flatten(-3)))
