"""Outlines to bitmaps."""

from __future__ import annotations

from omma.data.transforms.base import Transform, rasterise
from omma.registry import register
from omma.structures import Sample


@register
class RasteriseMasks(Transform):
    """Turns outlines into bitmaps; stands last, so that only the final pixels are filled."""

    def __call__(self, sample: Sample) -> Sample:
        """The sample with ``masks`` of (N, H, W)."""
        return rasterise(sample)
