"""Geometry and sums need float32: a bfloat16 coordinate of 1000 pixels is off by up to 4."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` as float32 if it is of half precision or integer, else ``x`` itself (float64 stays)."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
