"""Images out of focus."""

from __future__ import annotations

from typing import Literal

import cv2

from omma.data.transforms.base import Transform, choose, uniform
from omma.data.transforms.picture import pixels, with_pixels
from omma.registry import register
from omma.structures import Sample


@register
class RandomBlur(Transform):
    """Each pixel of a share of the images becomes the mean or the median of those around it.

    Args:
        prob: the share.
        kind: ``box`` is the mean.
        largest: side of the largest square, odd; the smallest has 3 pixels.
    """

    def __init__(
        self, *, prob: float = 0.5, kind: Literal["box", "median"] = "box", largest: int = 7
    ) -> None:
        if not 0 <= prob <= 1 or largest < 3 or largest % 2 == 0:
            raise ValueError(f"need prob in 0..1 and an odd side from 3 on, got {prob} and {largest}")
        self.prob, self.kind, self.largest = prob, kind, largest

    def __call__(self, sample: Sample) -> Sample:
        """The sample with a blurred image, or as it is."""
        if uniform(0, 1) >= self.prob:
            return sample
        side = 3 + 2 * choose((self.largest - 1) // 2)
        image = pixels(sample)
        blurred = cv2.blur(image, (side, side)) if self.kind == "box" else cv2.medianBlur(image, side)
        return with_pixels(sample, blurred)
