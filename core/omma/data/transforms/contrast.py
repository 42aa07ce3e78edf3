"""Other curves from level to level: of the whole image, or of each part of it."""

from __future__ import annotations

import cv2
import numpy as np

from omma.data.transforms.base import Transform, uniform
from omma.data.transforms.picture import pixels, with_pixels
from omma.registry import register
from omma.structures import Sample


@register
class CLAHE(Transform):
    """Contrast-limited adaptive histogram equalisation of each channel (Zuiderveld, Graphics Gems IV, 1994).

    Args:
        clip_limit: how often a level may come up in a tile, against all being as frequent; a pair is a range.
        tiles: rows and columns of tiles, each with a curve of its own.
        prob: share of the samples.
    """

    def __init__(
        self,
        *,
        clip_limit: float | tuple[float, float] = 40.0,
        tiles: tuple[int, int] = (8, 8),
        prob: float = 1.0,
    ) -> None:
        low, high = (clip_limit, clip_limit) if isinstance(clip_limit, (int, float)) else clip_limit
        if not 0 < low <= high or min(tiles) < 1 or not 0 <= prob <= 1:
            raise ValueError(
                "need a positive clip_limit, or a rising pair, tiles from 1 on and prob in 0..1, got "
                f"{clip_limit}, {tiles} and {prob}"
            )
        self.clip_limit, self.tiles, self.prob = (low, high), tiles, prob

    def __call__(self, sample: Sample) -> Sample:
        """The sample with a changed image, or as it is."""
        if uniform(0, 1) >= self.prob:
            return sample
        rows, columns = self.tiles
        curves = cv2.createCLAHE(clipLimit=uniform(*self.clip_limit), tileGridSize=(columns, rows))
        channels = [
            curves.apply(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels(sample), -1, 0)
        ]
        return with_pixels(sample, np.dstack(channels))


@register
class RandomGamma(Transform):
    """Level v in 0..1 becomes v^(1 / gamma): darker below a gamma of 1, brighter above.

    Args:
        gamma: a pair is a range, from which the logarithm is drawn evenly: 0.5 and 2 are equally likely.
        prob: share of the samples.
    """

    def __init__(self, *, gamma: float | tuple[float, float], prob: float = 1.0) -> None:
        low, high = (gamma, gamma) if isinstance(gamma, (int, float)) else gamma
        if not 0 < low <= high or not 0 <= prob <= 1:
            raise ValueError(
                f"need a positive gamma, or a rising pair, and prob in 0..1, got {gamma} and {prob}"
            )
        self.gamma, self.prob = (low, high), prob

    def __call__(self, sample: Sample) -> Sample:
        """The sample with a changed image, or as it is."""
        if uniform(0, 1) >= self.prob:
            return sample
        gamma = np.exp(uniform(*np.log(self.gamma)))
        levels = np.round(255 * (np.arange(256) / 255) ** (1 / gamma)).astype(np.uint8)
        return with_pixels(sample, cv2.LUT(pixels(sample), levels))
