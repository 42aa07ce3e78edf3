"""Autocast and gradient scaling from one word."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch
from torch.amp.grad_scaler import GradScaler

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Context in which the forward pass runs."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def make_scaler(precision: Precision, device: torch.device) -> GradScaler:
    """Scales losses so that fp16 gradients don't vanish; passes everything through in other precisions."""
    return GradScaler(device.type, enabled=precision == "fp16")
