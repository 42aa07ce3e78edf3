"""Features of regions, bilinearly sampled (He et al., Mask R-CNN, 2017)."""

from __future__ import annotations

import torchvision
from torch import Tensor


def roi_align(features: Tensor, rois: Tensor, *, size: int, scale: float, sampling_ratio: int = 0) -> Tensor:
    """Each region as a (C, size, size) grid of averaged samples, with the half-pixel shift (``aligned``).

    Computed in float32 whatever the features' type.

    Args:
        features: (N, C, H, W).
        rois: (R, 5), each (index of the image in the batch, x1, y1, x2, y2) in input pixels.
        size: height and width of the output.
        scale: feature pixels per input pixel, 1 / stride.
        sampling_ratio: samples per bin and axis; 0 takes as many as the bin has feature pixels.

    Returns:
        (R, C, size, size).
    """
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(f"roi_align: rois must have shape (R, 5), got {tuple(rois.shape)}")
    # In bfloat16 a coordinate of 1000 pixels is off by up to 4.
    pooled = torchvision.ops.roi_align(
        features.float(), rois.float(), size, scale, sampling_ratio, aligned=True
    )
    return pooled.to(features.dtype)
