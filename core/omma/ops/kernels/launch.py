"""What every launch of a Triton kernel needs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import triton.language as tl
from torch import Tensor


def on_device_of(x: Tensor) -> AbstractContextManager[object]:
    """Triton launches on the current GPU, wherever the tensors lie: make theirs the current one."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def compute_type(x: Tensor) -> tl.dtype:
    """The type to compute in: float32, or float64 for tensors of float64."""
    return tl.float64 if x.dtype == torch.float64 else tl.float32
