"""Features of rotated regions, bilinearly sampled (Ding et al., RoI Transformer, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.bilinear import interpolate_regions
from omma.ops.precision import at_least_float32
from omma.ops.roi_align import samples


def roi_align_rotated(
    features: Tensor,
    rois: Tensor,
    *,
    size: int | tuple[int, int],
    scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    clockwise: bool = True,
) -> Tensor:
    """``roi_align`` whose grid is turned with each region.

    Args:
        features: (N, C, H, W).
        rois: (R, 6), each (index of the image in the batch, x, y, w, h in input pixels, angle in radians);
            see ``omma.ops.rotated_boxes``. No gradient reaches them.
        size: (height, width) of the output, or the one number for both.
        scale: feature pixels per input pixel, 1 / stride.
        sampling_ratio: samples per bin and axis; 0 takes as many as the bin has feature pixels, which can't
            be traced.
        aligned: see ``roi_align``.
        clockwise: angles turn clockwise as seen in the image.

    Returns:
        (R, C, H', W'), of the features' type.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above, or sampling_ratio is 0 while tracing.
    """
    check_tensors(
        "roi_align_rotated",
        ("features", features, ("N", "C", "H", "W"), "float"),
        ("rois", rois, ("R", 6), "any"),
    )
    exact = at_least_float32(features)
    regions = rois.detach().to(exact.dtype)
    height, width = (size, size) if isinstance(size, int) else size
    centre = regions[:, 1:3] * scale - (0.5 if aligned else 0.0)
    sides = regions[:, 3:5] * scale
    if not aligned:
        sides = sides.clamp(min=1)
    angle = regions[:, 5] if clockwise else -regions[:, 5]
    v, rows = samples(height, sides[:, 1], sampling_ratio, -sides[:, 1] / 2)
    u, columns = samples(width, sides[:, 0], sampling_ratio, -sides[:, 0] / 2)
    v, u = torch.broadcast_tensors(v[:, :, None, :, None], u[:, None, :, None, :])
    counts = rows[:, :, None, :, None] & columns[:, None, :, None, :]
    cos, sin = (turn[:, None, None, None, None] for turn in (angle.cos(), angle.sin()))
    x = u * cos - v * sin + centre[:, 0, None, None, None, None]
    y = u * sin + v * cos + centre[:, 1, None, None, None, None]
    values = interpolate_regions(exact, regions[:, 0].long(), y.flatten(1), x.flatten(1))
    values = values.unflatten(2, u.shape[1:]) * counts[:, None]
    return (values.sum((-2, -1)) / counts.sum((-2, -1)).clamp(min=1)[:, None]).to(features.dtype)
