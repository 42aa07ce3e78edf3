"""Shifted windows (Liu et al., Swin Transformer, 2021; Video Swin Transformer, 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator

Sides = tuple[int, ...]
"""Of a map or a window: height and width, or frames, height and width."""


def window_partition(x: Tensor, *, size: int | Sides, shift: int | Sides = 0) -> Tensor:
    """Cuts a map into windows, after rolling it towards its origin by ``shift``.

    A map that the size doesn't divide is first filled up with zeros at its far ends.

    Args:
        x: (N, H, W, C), or of clips (N, T, H, W, C).
        size: of the windows along each axis, pixels; one number: of square ones.
        shift: along each axis, pixels, in 0..size - 1; one number: the same along all.

    Returns:
        (N, windows, positions of a window, C), windows and their pixels row by row.

    Raises:
        ValueError: wrong shape, dtype, size or shift.
    """
    sizes, shifts = _check_sides("window_partition", size, shift)
    check_tensors("window_partition", ("x", x, ("N", *_axes(sizes), "C"), "any"))
    return _WINDOW_PARTITION.kernel(x)(x, sizes, shifts)


def window_reverse(windows: Tensor, *, sides: Sides, size: int | Sides, shift: int | Sides = 0) -> Tensor:
    """Puts windows back together: the inverse of ``window_partition``.

    Args:
        windows: (N, windows, positions of a window, C).
        sides: of the map, (H, W) or (T, H, W).
        size, shift: as in ``window_partition``.

    Returns:
        (N, H, W, C) or (N, T, H, W, C).

    Raises:
        ValueError: wrong shape, dtype, size or shift.
    """
    sizes, shifts = _check_sides("window_reverse", size, shift, len(sides))
    count = math.prod(_counts(sides, sizes))
    check_tensors("window_reverse", ("windows", windows, ("N", count, math.prod(sizes), "C"), "any"))
    return _WINDOW_REVERSE.kernel(windows)(windows, tuple(sides), sizes, shifts)


def window_mask(sides: Sides, *, size: int | Sides, shift: int | Sides, device: torch.device) -> Tensor:
    """Which pixels of a shifted window may attend to each other: those that were neighbours before the roll.

    Pixels that fill up the map count as its continuation.

    Args:
        sides: of the map, (H, W) or (T, H, W).
        size, shift: as in ``window_partition``.
        device: of the result.

    Returns:
        (windows, positions, positions), bool.

    Raises:
        ValueError: wrong size or shift.
    """
    sizes, shifts = _check_sides("window_mask", size, shift, len(sides))
    part = torch.zeros((1,) * len(sides), dtype=torch.int64, device=device)
    for axis, (count, width, step) in enumerate(zip(_counts(sides, sizes), sizes, shifts)):
        place = torch.arange(count * width, device=device)
        behind = place >= len(place) - step
        part = part * 2 + behind.view(-1, *(1,) * (len(sides) - 1 - axis))
    parts = window_partition(part[None, ..., None], size=sizes)[0, ..., 0]
    return parts[:, :, None] == parts[:, None]


def _check_sides(
    op: str, size: int | Sides, shift: int | Sides, axes: int | None = None
) -> tuple[Sides, Sides]:
    """``size`` and ``shift`` along each axis."""
    given = [len(value) for value in (size, shift) if not isinstance(value, int)]
    axes = axes or (given[0] if given else 2)
    if any(count != axes for count in given):
        raise ValueError(
            f"{op}: size and shift must be {axes} numbers, one for each axis, got {size} and {shift}"
        )
    sizes = (size,) * axes if isinstance(size, int) else tuple(size)
    shifts = (shift,) * axes if isinstance(shift, int) else tuple(shift)
    for width, step in zip(sizes, shifts):
        if width < 1:
            raise ValueError(f"{op}: size must be at least 1, got {width}")
        if not 0 <= step < width:
            raise ValueError(f"{op}: shift must be in 0..{width - 1}, got {step}")
    return sizes, shifts


def _axes(sizes: Sides) -> tuple[str, ...]:
    return ("T", "H", "W")[-len(sizes) :]


def _counts(sides: Sides, sizes: Sides) -> Sides:
    """Windows along each axis."""
    return tuple(-(-side // width) for side, width in zip(sides, sizes))


def _partition_reference(x: Tensor, sizes: Sides, shifts: Sides) -> Tensor:
    n, *sides, c = x.shape
    counts, axes = _counts(tuple(sides), sizes), len(sizes)
    fill = [pair for side, width in zip(reversed(sides), reversed(sizes)) for pair in (0, -side % width)]
    x = F.pad(x, (0, 0, *fill))
    if any(shifts):
        x = x.roll([-step for step in shifts], list(range(1, axes + 1)))
    x = x.reshape(n, *(part for pair in zip(counts, sizes) for part in pair), c)
    x = x.permute(0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1)
    return x.reshape(n, math.prod(counts), math.prod(sizes), c)


def _reverse_reference(windows: Tensor, sides: Sides, sizes: Sides, shifts: Sides) -> Tensor:
    n, _, _, c = windows.shape
    counts, axes = _counts(sides, sizes), len(sizes)
    x = windows.reshape(n, *counts, *sizes, c)
    x = x.permute(0, *(axis for i in range(1, axes + 1) for axis in (i, axes + i)), 2 * axes + 1)
    x = x.reshape(n, *(count * width for count, width in zip(counts, sizes)), c)
    if any(shifts):
        x = x.roll(shifts, list(range(1, axes + 1)))
    return x[(slice(None), *(slice(side) for side in sides))].contiguous()


_WINDOW_PARTITION = Operator("window_partition", reference=_partition_reference)
_WINDOW_REVERSE = Operator("window_reverse", reference=_reverse_reference)
