"""Outlines to bitmaps."""

from __future__ import annotations

from typing import cast

from omma.data.transforms.base import Transform
from omma.registry import register
from omma.structures import Polygons, Sample


@register
class RasteriseMasks(Transform):
    """Turns outlines into bitmaps; stands last, so that only the final pixels are filled."""

    def __call__(self, sample: Sample) -> Sample:
        """The sample with ``masks`` of (N, H, W)."""
        masks = sample.get("masks")
        if not isinstance(masks, Polygons):
            return sample
        return cast(Sample, {**sample, "masks": masks.rasterise()})
