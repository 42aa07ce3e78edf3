"""Features of regions, bilinearly sampled (He et al., Mask R-CNN, 2017)."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator
from omma.ops.bilinear import bin_samples, interpolate_regions
from omma.ops.precision import at_least_float32


def roi_align(
    features: Tensor,
    rois: Tensor,
    *,
    size: int | tuple[int, int],
    scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Each region as a (C, H', W') grid of averaged samples.

    Computed in float32 or better whatever the features' type.

    Args:
        features: (N, C, H, W).
        rois: (R, 5), each (index of the image in the batch, x1, y1, x2, y2) in input pixels. No gradient
            reaches them.
        size: (height, width) of the output, or the one number for both.
        scale: feature pixels per input pixel, 1 / stride.
        sampling_ratio: samples per bin and axis; 0 takes as many as the bin has feature pixels.
        aligned: pixel i of the features has its centre at i + 0.5. False, for old weights only: at i, and
            regions are at least one feature pixel wide and high.

    Returns:
        (R, C, H', W'), of the features' type.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors(
        "roi_align", ("features", features, ("N", "C", "H", "W"), "float"), ("rois", rois, ("R", 5), "any")
    )
    exact = at_least_float32(features)
    height, width = (size, size) if isinstance(size, int) else size
    pooled = _ROI_ALIGN.kernel(features)(
        exact, rois.detach().to(exact.dtype), height, width, scale, sampling_ratio, aligned
    )
    return pooled.to(features.dtype)


def _torchvision(
    features: Tensor, rois: Tensor, height: int, width: int, scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    return torchvision.ops.roi_align(features, rois, (height, width), scale, sampling_ratio, aligned)


def _reference(
    features: Tensor, rois: Tensor, height: int, width: int, scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    start = rois[:, 1:3] * scale - (0.5 if aligned else 0.0)
    length = (rois[:, 3:] - rois[:, 1:3]) * scale
    if not aligned:
        length = length.clamp(min=1)
    y = samples(height, length[:, 1], sampling_ratio, start[:, 1])
    x = samples(width, length[:, 0], sampling_ratio, start[:, 0])
    return average_samples(features, rois[:, 0].long(), y, x)


def samples(bins: int, length: Tensor, ratio: int, start: Tensor) -> tuple[Tensor, Tensor]:
    """Places (R, bins, S) of samples along an axis of regions (R,), and which of them count."""
    if ratio > 0:
        count, most = torch.full_like(length, ratio), ratio
    elif torch.compiler.is_compiling():
        raise ValueError("RoIAlign in plain PyTorch: sampling_ratio must be fixed where it is traced, got 0")
    else:
        count = (length / bins).ceil().clamp(min=0)
        most = int(count.max()) if len(count) else 1
    places, valid = bin_samples(bins, length, count, most)
    return places + start[:, None, None], valid


def average_samples(
    features: Tensor, image: Tensor, y: tuple[Tensor, Tensor], x: tuple[Tensor, Tensor]
) -> Tensor:
    """Mean (R, C, H', W') over the samples of each bin, from the places on both axes."""
    rows, columns = y[0][:, :, None, :, None], x[0][:, None, :, None, :]
    rows, columns = torch.broadcast_tensors(rows, columns)
    counts = y[1][:, :, None, :, None] & x[1][:, None, :, None, :]
    values = interpolate_regions(features, image, rows.flatten(1), columns.flatten(1))
    values = values.unflatten(2, rows.shape[1:]) * counts[:, None]
    return values.sum((-2, -1)) / counts.sum((-2, -1)).clamp(min=1)[:, None]


_ROI_ALIGN = Operator("roi_align", torchvision=_torchvision, reference=_reference)
