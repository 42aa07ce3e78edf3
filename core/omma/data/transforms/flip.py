"""Mirror images."""

from __future__ import annotations

from typing import Literal

import cv2

from omma.data.transforms.base import Transform, canvas, map_spatial, uniform, with_meta
from omma.registry import register
from omma.structures import Sample

Direction = Literal["horizontal", "vertical"]


def flip(sample: Sample, direction: Direction) -> Sample:
    """The sample mirrored left to right, or upside down.

    Key points are mirrored to W - x, in the frame of the boxes; torchvision's own flip takes them for pixel
    indices and puts them at W - 1 - x.
    """
    height, width = canvas(sample)
    horizontal = direction == "horizontal"
    code = 1 if horizontal else 0
    origin, sign = ((width, 0), (-1, 1)) if horizontal else ((0, height), (1, -1))
    flipped = map_spatial(
        sample,
        image=lambda image: cv2.flip(image, code),
        points=lambda points: points.new_tensor(origin) + points * points.new_tensor(sign),
        masks=lambda mask: mask[:, ::-1] if horizontal else mask[::-1],
        size=(height, width),
    )
    if horizontal and "meta" in sample:
        return with_meta(flipped, flipped=not sample["meta"].flipped)
    return flipped


@register
class RandomFlip(Transform):
    """Mirrors a share of the samples; left to right is noted in ``meta.flipped``.

    Args:
        prob: the share.
        direction: ``horizontal`` is left to right.
    """

    def __init__(self, *, prob: float = 0.5, direction: Direction = "horizontal") -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be in 0..1, got {prob}")
        self.prob = prob
        self.direction: Direction = direction

    def __call__(self, sample: Sample) -> Sample:
        """The sample, mirrored or not."""
        return flip(sample, self.direction) if uniform(0, 1) < self.prob else sample
