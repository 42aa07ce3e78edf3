"""Larger canvases."""

from __future__ import annotations

import cv2

from omma.data.transforms.base import Transform, canvas, map_spatial
from omma.registry import register
from omma.structures import Sample


@register
class Pad(Transform):
    """Adds pixels at the right and the bottom.

    Args:
        divisor: height and width become multiples of this.
        fill: value of the new pixels; masks get 0.
    """

    def __init__(self, *, divisor: int = 32, fill: int = 114) -> None:
        if divisor < 1 or not 0 <= fill <= 255:
            raise ValueError(f"need divisor >= 1 and fill in 0..255, got {divisor} and {fill}")
        self.divisor, self.fill = divisor, fill

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the larger canvas."""
        height, width = canvas(sample)
        bottom, right = -height % self.divisor, -width % self.divisor
        if not bottom and not right:
            return sample
        colour = (self.fill,) * 3
        return map_spatial(
            sample,
            image=lambda image: cv2.copyMakeBorder(
                image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=colour
            ),
            points=lambda points: points,
            masks=lambda mask: cv2.copyMakeBorder(mask, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(0,)),
            size=(height + bottom, width + right),
        )
