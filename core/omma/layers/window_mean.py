"""Averages over windows that may be larger than a map."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class WindowMean(nn.Module):
    """Averages over square windows; of a map that is smaller than a window, over all there is.

    Args:
        window: side, positions.
        strides: from one window to the next, down and to the right.
    """

    def __init__(self, window: int, strides: tuple[int, int]) -> None:
        super().__init__()
        self.window, self.strides = window, strides

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H', W'), one value for each window that lies within the map."""
        height, width = x.shape[-2:]
        return F.avg_pool2d(x, (min(self.window, height), min(self.window, width)), self.strides)
