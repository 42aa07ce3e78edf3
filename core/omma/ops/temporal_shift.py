"""Shifts of channels along time, which mix neighbouring frames at no cost of arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator


def temporal_shift(x: Tensor, *, fold: int) -> Tensor:
    """Moves some channels by one frame (Lin et al., Temporal Shift Module, 2018).

    Args:
        x: (N, T, C, H, W).
        fold: so many channels come from the next frame, as many from the one before, the rest stay. In the
            paper C / 8. Beyond the ends are zeros.

    Returns:
        (N, T, C, H, W).

    Raises:
        ValueError: wrong shape or dtype, or more than C channels to move.
    """
    check_tensors("temporal_shift", ("x", x, ("N", "T", "C", "H", "W"), "float"))
    if not 0 <= fold <= x.shape[2] // 2:
        raise ValueError(
            f"temporal_shift: fold must be in 0..{x.shape[2] // 2}, half the channels, got {fold}"
        )
    return _TEMPORAL_SHIFT.kernel(x)(x, fold)


def _shift_reference(x: Tensor, fold: int) -> Tensor:
    nothing = torch.zeros_like(x[:, :1, :fold])
    following = torch.cat([x[:, 1:, :fold], nothing], 1)[:, : x.shape[1]]
    before = torch.cat([nothing, x[:, :-1, fold : 2 * fold]], 1)[:, : x.shape[1]]
    return torch.cat([following, before, x[:, :, 2 * fold :]], 2)


def tin_shift(x: Tensor, shift: Tensor) -> Tensor:
    """Moves groups of channels along time by learnt distances (Shao et al., Temporal Interlacing, 2020).

    Frames in between are interpolated linearly, so that gradients reach the distances; beyond the ends are
    zeros.

    Args:
        x: (N, T, C, H, W).
        shift: (N, G), frames: group g of C / G consecutive channels of frame t moves to frame t + shift.

    Returns:
        (N, T, C, H, W).

    Raises:
        ValueError: shapes, dtypes or devices aren't as above, or G doesn't divide C.
    """
    check_tensors(
        "tin_shift", ("x", x, ("N", "T", "C", "H", "W"), "float"), ("shift", shift, ("N", "G"), "any")
    )
    groups = shift.shape[1]
    if groups == 0 or x.shape[2] % groups:
        raise ValueError(f"tin_shift: {x.shape[2]} channels can't be split into the {groups} groups of shift")
    return _TIN_SHIFT.kernel(x)(x, shift)


def _tin_reference(x: Tensor, shift: Tensor) -> Tensor:
    n, length, c, h, w = x.shape
    groups = shift.shape[1]
    frames = torch.arange(length, device=x.device)
    # Share that frame s has in frame t of the output: a hat of width one around t = s + shift.
    away = (frames[:, None] - frames - shift[..., None, None]).abs()
    shares = (1 - away).clamp(min=0).to(x.dtype)  # (N, G, T, T)
    parts = x.reshape(n, length, groups, c // groups * h * w).transpose(1, 2)
    return (shares @ parts).transpose(1, 2).reshape(n, length, c, h, w)


_TEMPORAL_SHIFT = Operator("temporal_shift", reference=_shift_reference)
_TIN_SHIFT = Operator("tin_shift", reference=_tin_reference)
