"""Features at points (Kirillov et al., PointRend, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import check_tensors
from omma.ops.bilinear import interpolate_regions
from omma.ops.precision import at_least_float32


def point_sample(features: Tensor, points: Tensor) -> Tensor:
    """Bilinear values at points of each image; outside the image features are 0.

    Args:
        features: (N, C, H, W).
        points: (N, P, 2) x and y in 0..1 of the image's width and height, from its outer edges.

    Returns:
        (N, C, P), of the features' type; computed in float32 or better.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors(
        "point_sample",
        ("features", features, ("N", "C", "H", "W"), "float"),
        ("points", points, ("N", "P", 2), "float"),
    )
    with torch.autocast(features.device.type, enabled=False):
        exact = at_least_float32(features)
        if exact.shape[0] == 0 or points.shape[1] == 0:
            empty = exact.new_zeros(exact.shape[0], exact.shape[1], points.shape[1])
            return (empty + exact.sum() * 0 + points.sum().to(exact.dtype) * 0).to(features.dtype)
        grid = points.to(exact.dtype)[:, :, None] * 2 - 1
        return F.grid_sample(exact, grid, align_corners=False)[..., 0].to(features.dtype)


def simple_roi_align(features: Tensor, rois: Tensor, *, size: int | tuple[int, int], scale: float) -> Tensor:
    """Features at one point per bin, its centre: the coarse features of PointRend's mask head.

    Args:
        features: (N, C, H, W).
        rois: (R, 5), each (index of the image in the batch, x1, y1, x2, y2) in input pixels.
        size: (height, width) of the output, or the one number for both.
        scale: feature pixels per input pixel, 1 / stride.

    Returns:
        (R, C, H', W'), of the features' type; outside the features they are 0.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors(
        "simple_roi_align",
        ("features", features, ("N", "C", "H", "W"), "float"),
        ("rois", rois, ("R", 5), "float"),
    )
    height, width = (size, size) if isinstance(size, int) else size
    exact = at_least_float32(rois)
    y = (torch.arange(height, device=rois.device, dtype=exact.dtype) + 0.5) / height
    x = (torch.arange(width, device=rois.device, dtype=exact.dtype) + 0.5) / width
    unit = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
    places = (exact[:, None, 1:3] + unit * (exact[:, None, 3:] - exact[:, None, 1:3])) * scale
    # A border of zeros makes values fade to zero outside, as point_sample has it.
    padded = F.pad(at_least_float32(features), (1, 1, 1, 1))
    values = interpolate_regions(padded, rois[:, 0].long(), places[..., 1] + 0.5, places[..., 0] + 0.5)
    return values.unflatten(2, (height, width)).to(features.dtype)
