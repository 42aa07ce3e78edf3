"""Multi-scale deformable attention (Zhu et al., Deformable DETR, 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator
from omma.ops.precision import at_least_float32
from omma.ops.sum_rows import sum_rows

MAX_LEVELS = 8


def ms_deform_attn(
    value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """For each query and head the weighted sum of a few bilinear samples of the maps.

    Reads zeros outside of a map. Computed in float32 or better whatever the types.

    Args:
        value: (N, S, M, D), the maps of all levels one after the other, each row by row; M heads.
        sizes: height and width of each of at most 8 levels.
        locations: (N, Q, M, L, P, 2), places (x, y) as shares of the map's width and height, so that 0 and 1
            are its borders.
        weights: (N, Q, M, L, P).

    Returns:
        (N, Q, M * D), of the values' type.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    levels = len(sizes)
    check_tensors(
        "ms_deform_attn",
        ("value", value, ("N", sum(h * w for h, w in sizes), "M", "D"), "float"),
        ("locations", locations, ("N", "Q", "M", levels, "P", 2), "float"),
        ("weights", weights, ("N", "Q", "M", levels, "P"), "float"),
    )
    if not 1 <= levels <= MAX_LEVELS:
        raise ValueError(f"ms_deform_attn: sizes must be of 1 to {MAX_LEVELS} levels, got {levels}")
    return _MS_DEFORM_ATTN.kernel(value)(value, sizes, at_least_float32(locations), weights)


def _triton(value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    from omma.ops.kernels.ms_deform_attn import ms_deform_attn as kernel

    if value.dtype == torch.float64:
        locations = locations.double()
    return kernel(value, [side for size in sizes for side in size], locations, weights)


def _sums_of_rows(
    value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Each output as a weighted sum of rows of the values: the product of a sparse matrix and a dense one."""
    if torch.compiler.is_exporting():  # other runtimes know grid_sample
        return _reference(value, sizes, locations, weights)
    n, cells, heads, channels = value.shape
    queries, points = locations.shape[1], weights.shape[-1]
    exact = at_least_float32(value)
    rows, shares = _corners(sizes, locations.to(exact.dtype), weights.to(exact.dtype), cells)
    entries = (n * queries * heads, len(sizes) * points * 4)
    table = exact.reshape(n * cells * heads, channels)
    out = sum_rows(table, rows.reshape(entries), shares.reshape(entries))
    return out.reshape(n, queries, heads * channels).to(value.dtype)


def _corners(
    sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor, cells: int
) -> tuple[Tensor, Tensor]:
    """Of each sample the rows of the flattened values at its four corners, and their weights.

    Both (N, Q, M, L, P, 2, 2): top and bottom, left and right. A corner outside has some row and weight 0.
    """
    n, _, heads = locations.shape[:3]
    height, width = locations.new_tensor(sizes).T[..., None]  # (L, 1)
    x, y = locations[..., 0] * width - 0.5, locations[..., 1] * height - 0.5
    left, top = x.floor(), y.floor()
    both = locations.new_tensor([0.0, 1.0])
    columns, lines = left[..., None] + both, top[..., None] + both
    share_x = (1 - (x[..., None] - columns).abs()) * ((columns >= 0) & (columns < width[..., None]))
    share_y = (1 - (y[..., None] - lines).abs()) * ((lines >= 0) & (lines < height[..., None]))
    shares = (share_y * weights[..., None])[..., None] * share_x[..., None, :]

    total = n * cells * heads
    # Half the memory, where the numbers allow it.
    integer = torch.int32 if total < 2**31 else torch.int64
    whole = torch.tensor(sizes, device=locations.device, dtype=integer)
    starts = (whole.prod(1).cumsum(0) - whole.prod(1)).to(integer)
    images = torch.arange(n, device=locations.device, dtype=integer)[:, None, None, None, None] * cells
    place = images + starts[:, None] + top.to(integer) * whole[:, 1:] + left.to(integer)  # (N, Q, M, L, P)
    rows = place * heads + torch.arange(heads, device=locations.device, dtype=integer)[:, None, None]
    step = torch.stack([torch.zeros_like(starts), torch.ones_like(starts), whole[:, 1], whole[:, 1] + 1], -1)
    rows = rows[..., None, None] + (step * heads).reshape(-1, 1, 2, 2)
    return rows.clamp_(0, max(total - 1, 0)), shares


def _reference(value: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    n, _, heads, channels = value.shape
    queries, points = locations.shape[1], weights.shape[-1]
    exact = at_least_float32(value)
    sampled = []
    for level, maps in enumerate(exact.split([h * w for h, w in sizes], 1)):
        maps = maps.permute(0, 2, 3, 1).reshape(n * heads, channels, *sizes[level])
        grid = locations[:, :, :, level].transpose(1, 2).reshape(n * heads, queries, points, 2)
        grid = (2 * grid - 1).to(exact.dtype)  # from -1 to 1 across the map
        sampled.append(F.grid_sample(maps, grid, padding_mode="zeros", align_corners=False))
    shares = weights.to(exact.dtype).transpose(1, 2).reshape(n * heads, 1, queries, len(sizes) * points)
    out = (torch.cat(sampled, -1) * shares).sum(-1)  # (N * M, D, Q)
    return out.reshape(n, heads * channels, queries).transpose(1, 2).to(value.dtype)


_MS_DEFORM_ATTN = Operator("ms_deform_attn", triton=_triton, numpy=_sums_of_rows, reference=_reference)
