"""Outlines to bitmaps, and to boxes."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from omma.data.transforms.base import Transform, wrap
from omma.data.transforms.crop import drop_outside
from omma.ops import masks_to_boxes
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


@register
class BoxesOfMasks(Transform):
    """Boxes that fit the masks: after a crop, what is left of an object may be smaller than its cut box.

    Instances without a pixel, or an outline, on the canvas are dropped.
    """

    def __call__(self, sample: Sample) -> Sample:
        """The sample with the boxes of its masks; as it is without any."""
        if "masks" not in sample:
            return sample
        masks = sample["masks"]
        fitting = (
            masks.clipped().boxes()
            if isinstance(masks, Polygons)
            else masks_to_boxes(masks.as_subclass(Tensor))
        )
        boxes = wrap(fitting.as_subclass(Tensor), like=sample["boxes"])
        return drop_outside(cast(Sample, {**sample, "boxes": boxes}))
