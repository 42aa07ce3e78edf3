"""A window of a resized image, of which only the window is computed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from omma.data.transforms.base import canvas, choose, uniform
from omma.data.transforms.crop import crop
from omma.data.transforms.picture import Look, Rect, Window, show, with_pixels
from omma.registry import register
from omma.structures import Sample


@register
class RandomScaleCrop(Window):
    """A random resize that keeps the ratio, then a window at a random place: both in one step.

    The same as ``RandomResize`` and ``RandomCrop``, but the pixels beside the window are never computed.

    Args:
        height: of the box that the image is made to fit into, pixels, times a factor.
        width: likewise.
        ratio: range of the factor.
        crop_height: of the window; windows are never larger than the resized image.
        crop_width: likewise.
        allow_empty: accept windows without any object. Else, where none of ``tries`` windows has one, the
            last is taken.
        tries: windows drawn.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        ratio: tuple[float, float],
        crop_height: int,
        crop_width: int,
        allow_empty: bool = True,
        tries: int = 20,
    ) -> None:
        if min(height, width, crop_height, crop_width, tries) < 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"need positive sizes, tries and ratio, got {height}, {width}, {ratio}, {tries}")
        self.height, self.width, self.ratio = height, width, ratio
        self.crop_height, self.crop_width = crop_height, crop_width
        self.allow_empty, self.tries = allow_empty, tries

    def __call__(self, sample: Sample) -> Sample:
        """The sample inside the window."""
        old = canvas(sample)
        (height, width), (top, left, bottom, right) = self._draw(
            old, lambda: sample.get("boxes", torch.empty(0, 4))
        )
        return show(sample, (-top, -left, height - top, width - left), (bottom - top, right - left))

    def look(self, size: tuple[int, int], boxes: Callable[[], Tensor]) -> Look:
        """See ``Window.look``."""
        whole, (top, left, bottom, right) = self._draw(size, boxes)

        def finish(objects: Sample, image: np.ndarray) -> Sample:
            return with_pixels(crop(objects, top, left, bottom - top, right - left), image)

        return Look(whole, (top, left, bottom, right), finish)

    def _draw(self, size: tuple[int, int], boxes: Callable[[], Tensor]) -> tuple[tuple[int, int], Rect]:
        """(H, W) after the resize, and the window there."""
        scale = min(self.height / size[0], self.width / size[1]) * uniform(*self.ratio)
        whole = (max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5)))
        height, width = min(whole[0], self.crop_height), min(whole[1], self.crop_width)
        objects = torch.empty(0, 4) if self.allow_empty else boxes().as_subclass(Tensor)
        objects = objects * torch.tensor([whole[1] / size[1], whole[0] / size[0]] * 2)
        for _ in range(self.tries):
            top, left = choose(whole[0] - height + 1), choose(whole[1] - width + 1)
            low = objects[:, :2].maximum(torch.tensor([left, top]))
            high = objects[:, 2:].minimum(torch.tensor([left + width, top + height]))
            if not len(objects) or bool((high > low).all(dim=1).any()):
                break
        return whole, (top, left, top + height, left + width)  # pyright: ignore[reportPossiblyUnboundVariable]
