"""Windows around random centres (Law and Deng, CornerNet, 2018), and shifts that are a few pixels wide."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from omma.data.transforms.base import Transform, canvas, choose, keep_instances, uniform
from omma.data.transforms.crop import centre_inside
from omma.data.transforms.picture import show
from omma.registry import register
from omma.structures import Sample


@register
class RandomCentreCrop(Transform):
    """A window around a random centre, brought to a given size; it may reach beyond the image.

    The centre keeps a distance from the image's border: ``border`` pixels, halved until it leaves room.
    Objects stay if their centre is in the window. One that keeps no object is drawn again.

    Args:
        height: of the result, pixels.
        width: likewise.
        ratios: the window is so many times as large, one of them being drawn.
        border: wanted distance of the centre from the border, pixels.
        fill: (R, G, B) beside the image, 0..255.
        tries: windows that are drawn at most; if none of them keeps an object, the last one is empty.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        ratios: Sequence[float] = (1.0,),
        border: int = 128,
        fill: tuple[int, int, int] = (124, 116, 104),
        tries: int = 250,
    ) -> None:
        if min(height, width, border, tries) < 1 or not ratios or min(ratios) <= 0:
            raise ValueError(
                "need a positive height, width, border, number of tries and ratios, got "
                f"{height}, {width}, {border}, {tries} and {tuple(ratios)}"
            )
        self.height, self.width, self.ratios = height, width, tuple(ratios)
        self.border, self.fill, self.tries = border, fill, tries

    def __call__(self, sample: Sample) -> Sample:
        """The window."""
        size = canvas(sample)
        wants_object = len(sample.get("boxes", ())) > 0
        window, top, left = size, 0, 0
        for _ in range(self.tries):
            ratio = self.ratios[choose(len(self.ratios))]
            window = (max(1, int(self.height * ratio)), max(1, int(self.width * ratio)))
            top, left = (self._start(side, length) for side, length in zip(size, window))
            if not wants_object or bool(centre_inside(sample, top, left, *window).any()):
                break
        if wants_object:
            sample = keep_instances(sample, centre_inside(sample, top, left, *window))
        y, x = self.height / window[0], self.width / window[1]
        whole = (-top * y, -left * x, (size[0] - top) * y, (size[1] - left) * x)
        first, second, third, fourth = (round(edge) for edge in whole)
        rect = (first, second, max(third, first + 1), max(fourth, second + 1))
        return show(sample, rect, (self.height, self.width), self.fill)

    def _start(self, side: int, length: int) -> int:
        """Where along one side of the image the window begins."""
        border = centre_border(self.border, side)
        return border + choose(max(1, side - 2 * border)) - length // 2


def centre_border(wanted: int, side: int) -> int:
    """Least distance of a centre from both ends of a side: ``wanted``, halved until it leaves room."""
    share = 2 * wanted / side
    power = math.ceil(math.log2(math.ceil(share))) + (share == int(share))
    return wanted // 2**power


@register
class RandomShift(Transform):
    """Moves a share of the images by whole pixels; what is beside them is black (Chen et al., YOLOF, 2021).

    Args:
        prob: the share.
        most: largest move along each axis either way, pixels.
        min_size: objects of which less than this is left, in width or height, are dropped. Where none would
            be left, the image stays.
    """

    def __init__(self, *, prob: float = 0.5, most: int = 32, min_size: float = 1.0) -> None:
        if not 0 <= prob <= 1 or most < 0 or min_size < 0:
            raise ValueError(
                f"need prob in 0..1, most and min_size of at least 0, got {prob}, {most}, {min_size}"
            )
        self.prob, self.most, self.min_size = prob, most, min_size

    def __call__(self, sample: Sample) -> Sample:
        """The sample, moved or not."""
        if uniform(0, 1) >= self.prob:
            return sample
        height, width = canvas(sample)
        top, left = (choose(2 * self.most + 1) - self.most for _ in range(2))
        moved = show(sample, (top, left, top + height, left + width), (height, width))
        if "boxes" not in moved:
            return moved
        boxes = moved["boxes"].as_subclass(Tensor)
        large = (boxes[:, 2:] - boxes[:, :2] > self.min_size).all(dim=1)
        return keep_instances(moved, large) if bool(large.any()) else sample
