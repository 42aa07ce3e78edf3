"""Several samples in one picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from omma.data.transforms.base import canvas, choose, uniform
from omma.data.transforms.flip import flip
from omma.data.transforms.picture import Look, Rect, Window, lay, merge, paint, pixels, with_pixels
from omma.registry import register
from omma.structures import Sample

Draw = Callable[[], Sample]


class Mix(ABC):
    """A new sample from a sample and others, which ``MixedDataset`` draws."""

    alike: bool
    """Whether the others have come through the transforms before this one, too."""

    @abstractmethod
    def mix(self, sample: Sample, draw: Draw) -> Sample:
        """The mixed sample; ``draw`` gives another one each time."""


@register
class Mosaic(Mix):
    """Four samples around a random point (Bochkovskiy et al., YOLOv4, 2020), twice as high and wide as one.

    Args:
        height: each sample is made to fit into this, pixels.
        width: likewise.
        centre: where the point lies, from and to, in heights and widths.
        fill: grey level where no sample lies.
        prob: share of the samples that become mosaics.
        window: what comes next, where it shows a part: ``RandomScaleCrop`` or ``RandomAffine``. Only what it
            shows is drawn, at its scale. Samples that don't become mosaics pass through it as well.
    """

    alike = False

    def __init__(
        self,
        *,
        height: int,
        width: int,
        centre: tuple[float, float] = (0.5, 1.5),
        fill: int = 114,
        prob: float = 1.0,
        window: Window | None = None,
    ) -> None:
        if min(height, width) < 1 or not 0 <= fill <= 255 or not 0 <= prob <= 1:
            raise ValueError(
                "need height and width of at least 1, fill in 0..255 and prob in 0..1, got "
                f"{height}, {width}, {fill}, {prob}"
            )
        self.height, self.width, self.centre, self.fill, self.prob = height, width, centre, fill, prob
        self.window = window

    def mix(self, sample: Sample, draw: Draw) -> Sample:
        """The mosaic, or the window on it, with the ``meta`` of ``sample``."""
        if uniform(0, 1) >= self.prob:
            return self.window(sample) if self.window else sample
        samples = (sample, draw(), draw(), draw())
        rects, size = self._layout(samples), (2 * self.height, 2 * self.width)
        look = self._look(samples, rects, size)
        y, x = look.whole[0] / size[0], look.whole[1] / size[1]
        parts = []
        for each, (top, left, bottom, right) in zip(samples, rects):
            scaled = (round(top * y), round(left * x), round(bottom * y), round(right * x))
            parts.append(lay(each, _not_empty(scaled), look.seen))
        top, left, bottom, right = look.seen
        picture = np.full((bottom - top, right - left, 3), self.fill, np.uint8)
        for part in parts:
            paint(picture, pixels(part.sample), part, (top, left))
        return look.finish(merge(parts, look.whole), picture)

    def _layout(self, samples: Sequence[Sample]) -> list[Rect]:
        """Where in the mosaic each sample lies: a corner of it at the random point."""
        x, y = int(uniform(*self.centre) * self.width), int(uniform(*self.centre) * self.height)
        rects = []
        for i, each in enumerate(samples):
            height, width = canvas(each)
            scale = min(self.height / height, self.width / width)
            height, width = max(1, int(height * scale)), max(1, int(width * scale))
            left, top = (x - width if i % 2 == 0 else x), (y - height if i < 2 else y)
            rects.append((top, left, top + height, left + width))
        return rects

    def _look(self, samples: Sequence[Sample], rects: Sequence[Rect], size: tuple[int, int]) -> Look:
        if self.window is None:
            return Look(size, (0, 0, *size), with_pixels)
        whole = [lay(each, rect, (0, 0, *size)) for each, rect in zip(samples, rects)]
        return self.window.look(size, lambda: merge(whole, size)["boxes"])


def _not_empty(rect: Rect) -> Rect:
    top, left, bottom, right = rect
    return top, left, max(bottom, top + 1), max(right, left + 1)


@register
class MixUp(Mix):
    """The mean of two pictures, with the objects of both (Zhang et al., mixup, 2017; Ge et al., YOLOX, 2021).

    Args:
        height: the other sample is made to fit into this, pixels.
        width: likewise.
        ratio: its size is multiplied by a factor from this range.
        flip_prob: share in which the other one is mirrored.
        fill: grey level beside it.
        alike: whether it has come through the transforms before, too.
        prob: share of the samples that are mixed.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        ratio: tuple[float, float] = (0.5, 1.5),
        flip_prob: float = 0.5,
        fill: int = 114,
        alike: bool = False,
        prob: float = 1.0,
    ) -> None:
        if min(height, width) < 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"need a positive height, width and ratio, got {height}, {width}, {ratio}")
        self.height, self.width, self.ratio, self.flip_prob = height, width, ratio, flip_prob
        self.fill, self.alike, self.prob = fill, alike, prob

    def mix(self, sample: Sample, draw: Draw) -> Sample:
        """The mixed sample, with the ``meta`` of ``sample``."""
        if uniform(0, 1) >= self.prob:
            return sample
        other = draw()
        if uniform(0, 1) < self.flip_prob:
            other = flip(other, "horizontal")
        size, old, factor = canvas(sample), canvas(other), uniform(*self.ratio)
        scale = min(self.height / old[0], self.width / old[1]) * factor
        inner = (max(1, int(old[0] * scale)), max(1, int(old[1] * scale)))
        outer = (int(self.height * factor), int(self.width * factor))
        top, left = (-choose(max(big - small, 0) + 1) for big, small in zip(outer, size))
        seen = (0, 0, *size)
        part = lay(other, (top, left, top + inner[0], left + inner[1]), seen)
        picture = np.full((*size, 3), self.fill, np.uint8)
        paint(picture, pixels(other), part)
        mixed = cv2.addWeighted(pixels(sample), 0.5, picture, 0.5, 0)
        return with_pixels(merge([lay(sample, seen, seen), part], size), mixed)
