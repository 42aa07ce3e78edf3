"""Position-sensitive RoIAlign (Dai et al., R-FCN, 2016; Li et al., Light-Head R-CNN, 2017)."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator
from omma.ops.bilinear import interpolate_regions
from omma.ops.precision import at_least_float32
from omma.ops.roi_align import samples


def ps_roi_align(
    features: Tensor, rois: Tensor, *, size: int, scale: float, sampling_ratio: int = 0
) -> Tensor:
    """Each bin of a region averaged over channels of its own.

    Args:
        features: (N, C size size, H, W): channel (c size + i) size + j is for channel c of bin (i, j).
        rois: (R, 5), each (index of the image in the batch, x1, y1, x2, y2) in input pixels. No gradient
            reaches them.
        size: height and width of the output.
        scale: feature pixels per input pixel, 1 / stride.
        sampling_ratio: samples per bin and axis; 0 takes as many as the bin has feature pixels.

    Returns:
        (R, C, size, size), of the features' type.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors(
        "ps_roi_align", ("features", features, ("N", "C", "H", "W"), "float"), ("rois", rois, ("R", 5), "any")
    )
    if features.shape[1] % size**2:
        raise ValueError(
            f"ps_roi_align: features must have a multiple of {size} x {size} channels, "
            f"got {features.shape[1]}"
        )
    exact = at_least_float32(features)
    pooled = _PS_ROI_ALIGN.kernel(features)(exact, rois.detach().to(exact.dtype), size, scale, sampling_ratio)
    return pooled.to(features.dtype)


def _torchvision(features: Tensor, rois: Tensor, size: int, scale: float, sampling_ratio: int) -> Tensor:
    return torchvision.ops.ps_roi_align(features, rois, size, scale, sampling_ratio)


def _reference(features: Tensor, rois: Tensor, size: int, scale: float, sampling_ratio: int) -> Tensor:
    start = rois[:, 1:3] * scale - 0.5
    length = (rois[:, 3:] - rois[:, 1:3]) * scale
    y, rows = samples(size, length[:, 1], sampling_ratio, start[:, 1])
    x, columns = samples(size, length[:, 0], sampling_ratio, start[:, 0])
    image = rois[:, 0].long()
    own = features.unflatten(1, (-1, size, size))
    bins = []
    for i in range(size):
        for j in range(size):
            places = torch.broadcast_tensors(y[:, i, :, None], x[:, j, None, :])
            counts = (rows[:, i, :, None] & columns[:, j, None, :]).flatten(1)
            values = interpolate_regions(own[:, :, i, j], image, places[0].flatten(1), places[1].flatten(1))
            bins.append((values * counts[:, None]).sum(2) / counts.sum(1).clamp(min=1)[:, None])
    return torch.stack(bins, 2).unflatten(2, (size, size))


_PS_ROI_ALIGN = Operator("ps_roi_align", torchvision=_torchvision, reference=_reference)
