"""Larger canvases."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from omma.data.transforms.base import Transform, canvas, cut_outlines, map_spatial
from omma.registry import register
from omma.structures import IGNORED, Sample


@register
class Pad(Transform):
    """Adds pixels at the right and the bottom, so that no coordinate changes.

    Args:
        height: smallest height afterwards, pixels.
        width: smallest width afterwards, pixels.
        divisor: height and width become multiples of this.
        fill: grey level, or (R, G, B), of the new pixels in 0..255; masks get 0, semantic maps 255.
    """

    def __init__(
        self,
        *,
        height: int = 1,
        width: int = 1,
        divisor: int = 1,
        fill: int | tuple[int, int, int] = 0,
    ) -> None:
        colour = (fill, fill, fill) if isinstance(fill, int) else tuple(fill)
        if min(height, width, divisor) < 1:
            raise ValueError(
                f"height, width and divisor must be at least 1, got {height}, {width}, {divisor}"
            )
        if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
            raise ValueError(f"fill must be one or three levels in 0..255, got {fill}")
        self.height, self.width, self.divisor, self.colour = height, width, divisor, colour

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the larger canvas."""
        height, width = canvas(sample)
        larger_height = -(-max(height, self.height) // self.divisor) * self.divisor
        larger_width = -(-max(width, self.width) // self.divisor) * self.divisor
        if (larger_height, larger_width) == (height, width):
            return sample
        bottom, right = larger_height - height, larger_width - width
        return map_spatial(
            cut_outlines(sample),
            image=_border(bottom, right, self.colour),
            points=lambda points: points.clone(),
            masks=_border(bottom, right, (0,)),
            semantic=_border(bottom, right, (IGNORED,)),
            size=(larger_height, larger_width),
        )


def _border(bottom: int, right: int, value: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=value)
