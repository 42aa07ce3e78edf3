"""Features of regions, bilinearly sampled (He et al., Mask R-CNN, 2017)."""

from __future__ import annotations

import torchvision
from torch import Tensor

from omma.ops.precision import at_least_float32


def roi_align(features: Tensor, rois: Tensor, *, size: int, scale: float, sampling_ratio: int = 0) -> Tensor:
    """Each region as a (C, size, size) grid of averaged samples, with the half-pixel shift (``aligned``).

    Computed in float32 or better whatever the features' type.

    Args:
        features: (N, C, H, W).
        rois: (R, 5), each (index of the image in the batch, x1, y1, x2, y2) in input pixels.
        size: height and width of the output.
        scale: feature pixels per input pixel, 1 / stride.
        sampling_ratio: samples per bin and axis; 0 takes as many as the bin has feature pixels.

    Returns:
        (R, C, size, size), of the features' type.

    Raises:
        ValueError: the shapes aren't as above.
    """
    if features.ndim != 4:
        raise ValueError(f"roi_align: features must have shape (N, C, H, W), got {tuple(features.shape)}")
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(f"roi_align: rois must have shape (R, 5), got {tuple(rois.shape)}")
    exact = at_least_float32(features)
    pooled = torchvision.ops.roi_align(exact, rois.to(exact.dtype), size, scale, sampling_ratio, aligned=True)
    return pooled.to(features.dtype)
