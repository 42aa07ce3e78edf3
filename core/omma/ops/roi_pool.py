"""The largest feature in each bin of a region (Girshick, Fast R-CNN, 2015)."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator
from omma.ops.precision import at_least_float32


def roi_pool(features: Tensor, rois: Tensor, *, size: int | tuple[int, int], scale: float) -> Tensor:
    """Each region, rounded to whole feature pixels, as a (C, H', W') grid of maxima; an empty bin is 0.

    Args:
        features: (N, C, H, W).
        rois: (R, 5), each (index of the image in the batch, x1, y1, x2, y2) in input pixels, both corners
            belonging to the region. No gradient reaches them.
        size: (height, width) of the output, or the one number for both.
        scale: feature pixels per input pixel, 1 / stride.

    Returns:
        (R, C, H', W'), of the features' type.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors(
        "roi_pool", ("features", features, ("N", "C", "H", "W"), "float"), ("rois", rois, ("R", 5), "any")
    )
    exact = at_least_float32(features)
    height, width = (size, size) if isinstance(size, int) else size
    pooled = _ROI_POOL.kernel(features)(exact, rois.detach().to(exact.dtype), height, width, scale)
    return pooled.to(features.dtype)


def _torchvision(features: Tensor, rois: Tensor, height: int, width: int, scale: float) -> Tensor:
    return torchvision.ops.roi_pool(features, rois, (height, width), scale)


def _reference(features: Tensor, rois: Tensor, height: int, width: int, scale: float) -> Tensor:
    # Half a pixel is rounded away from zero, as C does.
    corners = rois[:, 1:] * scale
    corners = torch.where(corners < 0, (corners - 0.5).ceil(), (corners + 0.5).floor())
    length = (corners[:, 2:] - corners[:, :2] + 1).clamp(min=1)
    rows = _members(corners[:, 1], length[:, 1], height, features.shape[2])
    columns = _members(corners[:, 0], length[:, 0], width, features.shape[3])
    # Maxima along x of every row, then along y: bins are products of ranges.
    own = features[rois[:, 0].long()]
    lowest = float("-inf")
    in_x = [own.masked_fill(~columns[:, None, None, i], lowest).amax(3) for i in range(width)]
    along = torch.stack(in_x, 3)  # (R, C, H, W')
    in_y = [along.masked_fill(~rows[:, None, i, :, None], lowest).amax(2) for i in range(height)]
    pooled = torch.stack(in_y, 2)
    return torch.where(pooled == lowest, 0.0, pooled)


def _members(start: Tensor, length: Tensor, bins: int, pixels: int) -> Tensor:
    """(R, bins, pixels) bool: the feature pixels that each bin of a region holds, along one axis."""
    index = torch.arange(bins, device=start.device, dtype=start.dtype)
    size = (length / bins)[:, None]
    low = (index * size).floor() + start[:, None]
    high = ((index + 1) * size).ceil() + start[:, None]
    pixel = torch.arange(pixels, device=start.device)
    return (pixel >= low[..., None]) & (pixel < high[..., None])


_ROI_POOL = Operator("roi_pool", torchvision=_torchvision, reference=_reference)
