"""A learnable scalar."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """Multiplies its input by one learnable number, e.g. one per level of a pyramid."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` times the scalar, any shape."""
        return x * self.scale
