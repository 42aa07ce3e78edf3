"""Reading feature maps between their pixels, shared by the operators on regions."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate_regions(features: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear values at places of each region's image.

    As in RoIAlign: a place up to one pixel outside the outermost pixel centres takes the border's value, and
    one further out is 0.

    Args:
        features: (N, C, H, W).
        image: (R,) int64.
        y: (R, K) in pixels, 0 at the centre of the first.
        x: (R, K).

    Returns:
        (R, C, K).
    """
    height, width = features.shape[-2:]
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.detach().floor(), x.detach().floor()
    below, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, across = y - top, x - left
    flat = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    first = image[:, None] * (height * width)
    corners = (
        (top, left, (1 - down) * (1 - across)),
        (top, right, (1 - down) * across),
        (below, left, down * (1 - across)),
        (below, right, down * across),
    )
    out = y.new_zeros(())
    for row, column, share in corners:
        index = first + row.long() * width + column.long()
        out = out + flat[index] * (share * inside)[..., None]
    return out.transpose(1, 2)


def bin_samples(size: int, length: Tensor, count: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Places of samples along one axis of regions, cut into ``size`` bins of ``count`` samples each.

    Args:
        size: bins.
        length: (R,) of the regions.
        count: (R,) samples per bin.
        most: at least the largest count.

    Returns:
        Distances (R, size, most) from the region's start, and which of them are samples, of that shape.
    """
    bins = torch.arange(size, device=length.device, dtype=length.dtype)[:, None]
    steps = torch.arange(most, device=length.device, dtype=length.dtype)
    count = count.to(length.dtype)[:, None, None]
    places = (bins + (steps + 0.5) / count.clamp(min=1)) * (length[:, None, None] / size)
    return places, (steps < count).expand_as(places)
