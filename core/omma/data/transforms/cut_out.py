"""Holes in images (DeVries and Taylor, Cutout, 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omma.data.transforms.base import Transform, canvas, choose
from omma.data.transforms.picture import pixels, with_pixels
from omma.registry import register
from omma.structures import Sample


@register
class CutOut(Transform):
    """Fills rectangles at random places; objects and masks stay as they are.

    Args:
        holes: how many, from and to.
        shapes: (height, width) of holes in pixels, or in shares of the image where ``relative``; each
            hole has one of them. Its top-left corner lies anywhere in the image, at whose border it is cut.
        relative: shapes are shares, in 0..1.
        fill: (R, G, B) in 0..255.
    """

    def __init__(
        self,
        *,
        holes: tuple[int, int],
        shapes: Sequence[tuple[float, float]],
        relative: bool = False,
        fill: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        if not 0 <= holes[0] <= holes[1]:
            raise ValueError(f"holes must be two numbers from 0 up, rising; got {holes}")
        if not shapes or any(min(s) < 0 or (relative and max(s) > 1) for s in shapes):
            limit = "in 0..1" if relative else "in pixels"
            raise ValueError(f"shapes must be at least one (height, width) {limit}, got {list(shapes)}")
        self.holes, self.shapes, self.relative, self.fill = holes, tuple(shapes), relative, fill

    def __call__(self, sample: Sample) -> Sample:
        """The sample with an image that has holes."""
        height, width = canvas(sample)
        image = np.array(pixels(sample))
        for _ in range(self.holes[0] + choose(self.holes[1] - self.holes[0] + 1)):
            top, left = choose(height), choose(width)
            tall, wide = self.shapes[choose(len(self.shapes))]
            if self.relative:
                tall, wide = tall * height, wide * width
            image[top : top + int(tall), left : left + int(wide)] = self.fill
        return with_pixels(sample, image)
