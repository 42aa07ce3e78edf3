"""Mirror images."""

from __future__ import annotations

from typing import Literal

import cv2

from omma.data.transforms.base import Transform, canvas, map_spatial, uniform
from omma.registry import register
from omma.structures import Sample


def flip(sample: Sample, direction: Literal["horizontal", "vertical"]) -> Sample:
    """The sample mirrored left to right, or upside down."""
    height, width = canvas(sample)
    horizontal = direction == "horizontal"
    code = 1 if horizontal else 0
    origin, sign = ((width, 0), (-1, 1)) if horizontal else ((0, height), (1, -1))
    return map_spatial(
        sample,
        image=lambda image: cv2.flip(image, code),
        points=lambda points: points.new_tensor(origin) + points * points.new_tensor(sign),
        masks=lambda mask: cv2.flip(mask, code),
        size=(height, width),
        meta={"flipped": not sample["meta"].flipped} if horizontal else None,
    )


@register
class RandomFlip(Transform):
    """Mirrors a share of the samples.

    Args:
        prob: the share.
        direction: ``horizontal`` is left to right.
    """

    def __init__(
        self, *, prob: float = 0.5, direction: Literal["horizontal", "vertical"] = "horizontal"
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be in 0..1, got {prob}")
        self.prob, self.direction = prob, direction

    def __call__(self, sample: Sample) -> Sample:
        """The sample, mirrored or not."""
        return flip(sample, self.direction) if uniform(0, 1) < self.prob else sample
