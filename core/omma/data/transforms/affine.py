"""Turned, scaled, sheared and moved images (Ge et al., YOLOX, 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from omma.data.transforms.base import uniform
from omma.data.transforms.picture import Look, Window, pixels, with_pixels
from omma.data.transforms.warp import warp_objects, warp_pixels
from omma.registry import register
from omma.structures import Sample


@register
class RandomAffine(Window):
    """Scales, turns, shears and moves a picture onto a canvas of given size; boxes go around what they held.

    The image's corner is the fixed point of all but the move.

    Args:
        height: of the result, pixels.
        width: likewise.
        degrees: largest turn either way.
        scale: range of the factor.
        shear: largest shear along each axis either way, degrees.
        translate: largest move either way, shares of height and width.
        fill: grey level beside the picture.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        degrees: float = 10.0,
        scale: tuple[float, float] = (0.5, 1.5),
        shear: float = 2.0,
        translate: float = 0.1,
        fill: int = 114,
    ) -> None:
        if min(height, width) < 1 or not 0 < scale[0] <= scale[1] or not 0 <= translate <= 1:
            raise ValueError(
                "need height and width of at least 1, a positive scale and translate in 0..1, got "
                f"{height}, {width}, {scale}, {translate}"
            )
        self.height, self.width, self.degrees, self.scale = height, width, degrees, scale
        self.shear, self.translate, self.fill = shear, translate, fill

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the canvas."""
        return self._warp(sample, pixels(sample), self._matrix(), (0, 0))

    def look(self, size: tuple[int, int], boxes: Callable[[], Tensor]) -> Look:
        """See ``Window.look``."""
        matrix = self._matrix()
        corners = np.array([[0, 0], [self.width, 0], [0, self.height], [self.width, self.height]])
        shown = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
        # Two more on each side: pixels at the border are interpolated with them.
        limit = np.array(size[::-1])
        left, top = (int(x) for x in np.clip(np.floor(shown.min(0)) - 2, 0, limit - 1))
        right, bottom = (int(x) for x in np.clip(np.ceil(shown.max(0)) + 2, (left + 1, top + 1), limit))

        def finish(objects: Sample, image: np.ndarray) -> Sample:
            return self._warp(objects, image, matrix, (left, top))

        return Look(size, (top, left, bottom, right), finish)

    def _warp(self, sample: Sample, image: np.ndarray, matrix: np.ndarray, origin: tuple[int, int]) -> Sample:
        """The sample moved by ``matrix``; its pixels are in ``image``, which begins at ``origin`` (x, y)."""
        size = (self.height, self.width)
        there = np.concatenate([matrix[:, :2], matrix @ [[origin[0]], [origin[1]], [1]]], axis=1)
        return warp_objects(
            with_pixels(sample, warp_pixels(image, there, size, fill=self.fill)), matrix, size
        )

    def _matrix(self) -> np.ndarray:
        """(2, 3): first scaled, then turned, sheared and moved."""
        angle, factor = math.radians(uniform(-self.degrees, self.degrees)), uniform(*self.scale)
        x, y = (math.tan(math.radians(uniform(-self.shear, self.shear))) for _ in range(2))
        move = [uniform(-self.translate, self.translate) * side for side in (self.width, self.height)]
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = np.array([[1, x], [y, 1]]) @ turn * factor
        return np.concatenate([linear, np.array(move)[:, None]], axis=1)
