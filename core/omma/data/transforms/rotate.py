"""Turned images."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torchvision import tv_tensors

from omma.data.transforms.base import Transform, canvas, uniform
from omma.data.transforms.warp import warp_objects, warp_pixels
from omma.registry import register
from omma.structures import Sample


@register
class RandomRotate(Transform):
    """Turns a share of the samples about the middle of the image; boxes go around their turned corners.

    Boxes that fit the turned objects are had by ``BoxesOfMasks`` after it.

    Args:
        degrees: largest turn either way; a pair is the range, turns to the right being positive.
        prob: the share.
        enlarge: show all of the turned image, on a canvas that is as large as that takes; else the canvas
            stays as it is and the corners are lost.
        fill: grey level, or (R, G, B), beside the image; masks get 0, semantic maps 255.
    """

    def __init__(
        self,
        *,
        degrees: float | tuple[float, float],
        prob: float = 0.5,
        enlarge: bool = False,
        fill: int | tuple[int, int, int] = 0,
    ) -> None:
        low, high = (-degrees, degrees) if isinstance(degrees, (int, float)) else degrees
        if low > high or not 0 <= prob <= 1:
            raise ValueError(
                f"need degrees from 0 up, or a rising pair, and prob in 0..1; got {degrees}, {prob}"
            )
        self.degrees, self.prob, self.enlarge, self.fill = (low, high), prob, enlarge, fill

    def __call__(self, sample: Sample) -> Sample:
        """The sample, turned or not."""
        return self._turned(sample, uniform(*self.degrees)) if uniform(0, 1) < self.prob else sample

    def _turned(self, sample: Sample, degrees: float) -> Sample:
        height, width = canvas(sample)
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        size = (height, width)
        if self.enlarge:
            # A turn by 90 degrees must not gain a pixel by rounding.
            sides = height * abs(cos) + width * abs(sin), width * abs(cos) + height * abs(sin)
            size = (math.ceil(sides[0] - 1e-6), math.ceil(sides[1] - 1e-6))
        turn = np.array([[cos, -sin], [sin, cos]])
        move = np.array([size[1], size[0]]) / 2 - turn @ np.array([width, height]) / 2
        matrix = np.concatenate([turn, move[:, None]], axis=1)
        out: dict[str, Any] = dict(warp_objects(sample, matrix, size))
        for key, value in out.items():
            if isinstance(value, tv_tensors.Image | tv_tensors.Video):
                out[key] = type(value)(self._frames(value.numpy(), matrix, size))
        return cast(Sample, out)

    def _frames(self, frames: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
        """(..., 3, H, W) turned."""
        turned = [
            warp_pixels(np.moveaxis(frame, 0, -1), matrix, size, fill=self.fill)
            for frame in frames.reshape(-1, *frames.shape[-3:])
        ]
        return torch.from_numpy(np.stack(turned)).movedim(-1, -3).reshape(*frames.shape[:-2], *size)
