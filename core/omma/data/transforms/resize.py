"""Other sizes of an image."""

from __future__ import annotations

from typing import Literal

import cv2

from omma.data.transforms.base import Transform, canvas, choose, map_spatial, uniform
from omma.registry import register
from omma.structures import Sample


def resize(sample: Sample, height: int, width: int) -> Sample:
    """The sample at exactly this size; bilinear without antialiasing, so that published weights see the pixels
    they were trained on.
    """
    old_height, old_width = canvas(sample)
    if (old_height, old_width) == (height, width):
        return sample
    x, y = width / old_width, height / old_height
    scale = sample["meta"].scale
    return map_spatial(
        sample,
        image=lambda image: cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR),
        points=lambda points: points * points.new_tensor([x, y]),
        masks=lambda mask: cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST),
        size=(height, width),
        meta={"scale": (scale[0] * x, scale[1] * y)},
    )


def fit(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """The largest (H, W) of the same shape whose short side is at most ``short`` and long side ``long``."""
    factor = min(long / max(height, width), short / min(height, width))
    return int(height * factor + 0.5), int(width * factor + 0.5)


@register
class Resize(Transform):
    """To a given size.

    Args:
        short: largest short side, pixels; with ``keep_ratio: false`` the height.
        long: largest long side, pixels; with ``keep_ratio: false`` the width.
        keep_ratio: scale both sides alike.
    """

    def __init__(self, *, short: int, long: int, keep_ratio: bool = True) -> None:
        if short < 1 or long < 1 or (keep_ratio and long < short):
            raise ValueError(f"need 1 <= short <= long, got short {short} and long {long}")
        self.short, self.long, self.keep_ratio = short, long, keep_ratio

    def __call__(self, sample: Sample) -> Sample:
        """The sample at the size."""
        size = fit(*canvas(sample), self.short, self.long) if self.keep_ratio else (self.short, self.long)
        return resize(sample, *size)


@register
class RandomResize(Transform):
    """To a size drawn anew for each sample, keeping the ratio.

    Args:
        short: short sides to choose from, or the ends of a range.
        long: largest long side, pixels.
        mode: ``choice`` takes one of ``short``; ``range`` any whole number between its smallest and largest.
    """

    def __init__(
        self, *, short: tuple[int, ...], long: int, mode: Literal["choice", "range"] = "choice"
    ) -> None:
        if not short or min(short) < 1 or long < max(short):
            raise ValueError(f"need short sides of 1..long, got {short} and long {long}")
        self.short, self.long, self.mode = short, long, mode

    def __call__(self, sample: Sample) -> Sample:
        """The sample at a random size."""
        if self.mode == "choice":
            short = self.short[choose(len(self.short))]
        else:
            short = int(uniform(min(self.short), max(self.short) + 1 - 1e-6))
        return resize(sample, *fit(*canvas(sample), short, self.long))
