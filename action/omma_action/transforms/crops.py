"""Windows of videos: random ones for training, several beside each other for tests."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import cast

import torch
from torchvision import tv_tensors

from omma.data.transforms.base import Transform, canvas, choose, uniform
from omma.data.transforms.crop import crop
from omma.data.transforms.flip import flip
from omma.data.transforms.resize import resize
from omma.registry import register
from omma.structures import Sample

Window = tuple[int, int, int, int]
"""Top, left, height, width; pixels."""
_FIVE = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))
_THIRTEEN = (*_FIVE, (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3))
"""Quarters of the room below and right of a window that lies in the corner."""


class RandomWindow(Transform):
    """A random window of all frames, brought to a given size.

    Args:
        height: of the result, pixels.
        width: likewise.

    Raises:
        ValueError: a side is below 1.
    """

    def __init__(self, *, height: int, width: int) -> None:
        if min(height, width) < 1:
            raise ValueError(f"height and width must be at least 1, got {height} and {width}")
        self.height, self.width = height, width

    def __call__(self, sample: Sample) -> Sample:
        """The window."""
        return resize(crop(sample, *self.window(*canvas(sample))), self.height, self.width)

    @abstractmethod
    def window(self, height: int, width: int) -> Window:
        """A window of an image of this size."""


@register
class MultiScaleCrop(RandomWindow):
    """A window of one of some sizes at one of some places (Wang et al., TSN, 2016).

    Args:
        height: of the result, pixels.
        width: likewise.
        scales: sides of windows over the short side of the image.
        gap: how far the scales of both sides may lie apart in this list.
        places: 5 (corners and middle), or 13 (as many again between them).

    Raises:
        ValueError: a side is below 1, a scale is out of 0..1, or ``places`` is another number.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66),
        gap: int = 1,
        places: int = 5,
    ) -> None:
        super().__init__(height=height, width=width)
        if not scales or min(scales) <= 0 or max(scales) > 1:
            raise ValueError(f"scales must lie in 0..1, got {scales}")
        if places not in (5, 13):
            raise ValueError(f"places must be 5 or 13, got {places}")
        self.places = _FIVE if places == 5 else _THIRTEEN
        counts = range(len(scales))
        self.pairs = [(scales[i], scales[j]) for i in counts for j in counts if abs(i - j) <= gap]

    def window(self, height: int, width: int) -> Window:
        """See ``RandomWindow``."""
        short = min(height, width)
        rows, columns = (max(1, int(short * scale)) for scale in self.pairs[choose(len(self.pairs))])
        down, right = self.places[choose(len(self.places))]
        return (height - rows) // 4 * down, (width - columns) // 4 * right, rows, columns


@register
class RandomAreaCrop(RandomWindow):
    """A window of a random share of the area and a random ratio of its sides (Szegedy et al., 2014).

    Args:
        height: of the result, pixels.
        width: likewise.
        area: range of the share.
        ratio: range of width over height.
        tries: windows drawn; if none lies in the image, the largest square in its middle is taken.

    Raises:
        ValueError: a side is below 1, or a range is empty or not positive.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        area: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        tries: int = 10,
    ) -> None:
        super().__init__(height=height, width=width)
        if not 0 < area[0] <= area[1] <= 1 or not 0 < ratio[0] <= ratio[1] or tries < 1:
            raise ValueError(f"need 0 < area <= 1, 0 < ratio and tries, got {area}, {ratio} and {tries}")
        self.area, self.ratio, self.tries = area, ratio, tries

    def window(self, height: int, width: int) -> Window:
        """See ``RandomWindow``."""
        for _ in range(self.tries):
            ratio = math.exp(uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            area = uniform(*self.area) * height * width
            rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < rows <= height and 0 < columns <= width:
                return choose(height - rows + 1), choose(width - columns + 1), rows, columns
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side, side


@register
class CentreCrop(Transform):
    """The middle of all frames, or as much of it as there is.

    Args:
        height: of the window, pixels.
        width: likewise.

    Raises:
        ValueError: a side is below 1.
    """

    def __init__(self, *, height: int, width: int) -> None:
        if min(height, width) < 1:
            raise ValueError(f"height and width must be at least 1, got {height} and {width}")
        self.height, self.width = height, width

    def __call__(self, sample: Sample) -> Sample:
        """The middle."""
        height, width = canvas(sample)
        rows, columns = min(height, self.height), min(width, self.width)
        return crop(sample, (height - rows) // 2, (width - columns) // 2, rows, columns)


class ManyCrops(Transform):
    """Several windows of each view, as views: those of one window after those of another.

    Args:
        size: side of the windows, pixels.
    """

    def __init__(self, *, size: int) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.size = size

    def joined(self, samples: list[Sample]) -> Sample:
        """The videos of all samples as views of one."""
        videos = torch.cat([sample["video"].as_subclass(torch.Tensor) for sample in samples])
        return cast(Sample, {**samples[0], "video": tv_tensors.Video(videos)})

    def check(self, height: int, width: int) -> None:
        """Whether windows fit into frames of this size.

        Raises:
            ValueError: they don't.
        """
        if min(height, width) < self.size:
            raise ValueError(f"frames of {height} x {width} are too small for windows of {self.size}")


@register
class ThreeCrop(ManyCrops):
    """Both ends and the middle along the longer side (Feichtenhofer et al., SlowFast, 2018).

    Args:
        size: side of the windows, pixels.
    """

    def __call__(self, sample: Sample) -> Sample:
        """Three times as many views."""
        height, width = canvas(sample)
        self.check(height, width)
        down, right = (height - self.size) // 2, (width - self.size) // 2
        starts = [(0, right), (2 * down, right)] if height > width else [(down, 0), (down, 2 * right)]
        starts.append((down, right))
        return self.joined([crop(sample, top, left, self.size, self.size) for top, left in starts])


@register
class TenCrop(ManyCrops):
    """Corners and middle, each as it is and mirrored (Krizhevsky et al., 2012).

    Args:
        size: side of the windows, pixels.
    """

    def __call__(self, sample: Sample) -> Sample:
        """Ten times as many views."""
        height, width = canvas(sample)
        self.check(height, width)
        quarter = ((height - self.size) // 4, (width - self.size) // 4)
        windows = []
        for down, right in _FIVE:
            window = crop(sample, quarter[0] * down, quarter[1] * right, self.size, self.size)
            windows += [window, flip(window, "horizontal")]
        return self.joined(windows)
