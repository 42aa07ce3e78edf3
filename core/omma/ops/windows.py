"""Shifted windows (Liu et al., Swin Transformer, 2021)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator


def window_partition(x: Tensor, *, size: int, shift: int = 0) -> Tensor:
    """Cuts a map into square windows, after rolling it up and left by ``shift``.

    A map that the size doesn't divide is first filled up with zeros at the right and the bottom.

    Args:
        x: (N, H, W, C).
        size: of the windows, pixels.
        shift: pixels, in 0..size - 1.

    Returns:
        (N, windows, size * size, C), windows and their pixels row by row.

    Raises:
        ValueError: wrong shape, dtype, size or shift.
    """
    _check_sides("window_partition", size, shift)
    check_tensors("window_partition", ("x", x, ("N", "H", "W", "C"), "any"))
    return _WINDOW_PARTITION.kernel(x)(x, size, shift)


def window_reverse(windows: Tensor, *, height: int, width: int, size: int, shift: int = 0) -> Tensor:
    """Puts windows back together: the inverse of ``window_partition``.

    Args:
        windows: (N, windows, size * size, C).
        height, width: of the map, H and W.
        size: of the windows, pixels.
        shift: pixels, in 0..size - 1.

    Returns:
        (N, H, W, C).

    Raises:
        ValueError: wrong shape, dtype, size or shift.
    """
    _check_sides("window_reverse", size, shift)
    count = -(-height // size) * -(-width // size)
    check_tensors("window_reverse", ("windows", windows, ("N", count, size * size, "C"), "any"))
    return _WINDOW_REVERSE.kernel(windows)(windows, height, width, size, shift)


def window_mask(height: int, width: int, *, size: int, shift: int, device: torch.device) -> Tensor:
    """Which pixels of a shifted window may attend to each other: those that were neighbours before the roll.

    Pixels that fill up the map count as its continuation.

    Args:
        height, width: of the map, H and W.
        size: of the windows, pixels.
        shift: pixels, in 0..size - 1.
        device: of the result.

    Returns:
        (windows, size * size, size * size), bool.

    Raises:
        ValueError: wrong size or shift.
    """
    _check_sides("window_mask", size, shift)
    sides = []
    for side in (height, width):
        place = torch.arange(-(-side // size) * size, device=device)
        sides.append((place >= len(place) - shift).long() if shift else torch.zeros_like(place))
    part = (2 * sides[0][:, None] + sides[1])[None, ..., None]  # (1, H, W, 1)
    parts = window_partition(part, size=size)[0, ..., 0]
    return parts[:, :, None] == parts[:, None]


def _check_sides(op: str, size: int, shift: int) -> None:
    if size < 1:
        raise ValueError(f"{op}: size must be at least 1, got {size}")
    if not 0 <= shift < size:
        raise ValueError(f"{op}: shift must be in 0..{size - 1}, got {shift}")


def _partition_reference(x: Tensor, size: int, shift: int) -> Tensor:
    n, h, w, c = x.shape
    x = F.pad(x, (0, 0, 0, -w % size, 0, -h % size))
    if shift:
        x = x.roll((-shift, -shift), (1, 2))
    rows, columns = x.shape[1] // size, x.shape[2] // size
    x = x.reshape(n, rows, size, columns, size, c).transpose(2, 3)
    return x.reshape(n, rows * columns, size * size, c)


def _reverse_reference(windows: Tensor, height: int, width: int, size: int, shift: int) -> Tensor:
    n, _, _, c = windows.shape
    rows, columns = -(-height // size), -(-width // size)
    x = windows.reshape(n, rows, columns, size, size, c).transpose(2, 3)
    x = x.reshape(n, rows * size, columns * size, c)
    if shift:
        x = x.roll((shift, shift), (1, 2))
    return x[:, :height, :width].contiguous()


_WINDOW_PARTITION = Operator("window_partition", reference=_partition_reference)
_WINDOW_REVERSE = Operator("window_reverse", reference=_reverse_reference)
