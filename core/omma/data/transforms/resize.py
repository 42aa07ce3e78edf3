"""Other sizes of an image."""

from __future__ import annotations

from typing import Literal

import cv2

from omma.data.transforms.base import Transform, canvas, choose, map_spatial, uniform, with_meta
from omma.registry import register
from omma.structures import Sample


def resize(sample: Sample, height: int, width: int) -> Sample:
    """The sample at exactly this size; ``meta.scale`` follows.

    Bilinear without antialiasing: published detectors were trained on such pixels.
    """
    old_height, old_width = canvas(sample)
    if (old_height, old_width) == (height, width):
        return sample
    x, y = width / old_width, height / old_height
    resized = map_spatial(
        sample,
        image=lambda image: cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR),
        points=lambda points: points * points.new_tensor([x, y]),
        # The exact kind samples at pixel centres, as the bilinear one does.
        masks=lambda mask: cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT),
        size=(height, width),
    )
    if "meta" not in sample:
        return resized
    scale = sample["meta"].scale
    return with_meta(resized, scale=(scale[0] * x, scale[1] * y))


def fit(height: int, width: int, short: float, long: float) -> tuple[int, int]:
    """The largest (H, W) of the same shape whose sides are at most ``short`` and ``long``."""
    return _scaled(height, width, min(long / max(height, width), short / min(height, width)))


def _scaled(height: int, width: int, factor: float) -> tuple[int, int]:
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


@register
class Resize(Transform):
    """To a given size: by ``short`` and ``long`` side, or by ``height`` and ``width``.

    Args:
        short: largest short side, pixels.
        long: largest long side, pixels.
        height: of the result, or the largest one where the ratio is kept; pixels.
        width: likewise.
        keep_ratio: scale both sides by the same factor, the largest that fits. ``False`` needs ``height`` and
            ``width``, and gives exactly these.
    """

    def __init__(
        self,
        *,
        short: int | None = None,
        long: int | None = None,
        height: int | None = None,
        width: int | None = None,
        keep_ratio: bool = True,
    ) -> None:
        given = {"short": short, "long": long, "height": height, "width": width}
        names = [name for name, value in given.items() if value is not None]
        if names != ["height", "width"] and (names != ["short", "long"] or not keep_ratio):
            wanted = "short and long, or height and width" if keep_ratio else "height and width"
            raise ValueError(f"keep_ratio={keep_ratio} takes {wanted}; got {', '.join(names) or 'neither'}")
        first, second = (value for value in given.values() if value is not None)
        if min(first, second) < 1 or (short is not None and first > second):
            raise ValueError(f"need sizes of at least 1 pixel, and short <= long; got {given}")
        self.limits, self.by_sides, self.keep_ratio = (first, second), short is not None, keep_ratio

    def __call__(self, sample: Sample) -> Sample:
        """The sample at the size."""
        return resize(sample, *self._size(*canvas(sample)))

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self.by_sides:
            return fit(height, width, *self.limits)
        if self.keep_ratio:
            return _scaled(height, width, min(self.limits[0] / height, self.limits[1] / width))
        return self.limits


@register
class RandomResize(Transform):
    """To a size drawn anew for each sample, keeping the ratio.

    Large-scale jitter (Ghiasi et al., CVPR 2021) of 0.1 to 2 around 1024 is ``short: [102, 2048]``,
    ``long: [102, 2048]``, ``mode: range``.

    Args:
        short: short sides to choose from, or the two ends of a range; pixels.
        long: largest long side; or one for each of ``short``, drawn together with it.
        mode: ``choice`` takes one of ``short``; ``range`` any whole number between the two.
    """

    def __init__(
        self,
        *,
        short: tuple[int, ...],
        long: int | tuple[int, ...],
        mode: Literal["choice", "range"] = "choice",
    ) -> None:
        longs = (long,) * len(short) if isinstance(long, int) else tuple(long)
        if not short or len(short) != len(longs) or (mode == "range" and len(short) != 2):
            count = "two" if mode == "range" else "some"
            raise ValueError(
                f"mode '{mode}' needs {count} short sides and one long or as many, got {short}, {long}"
            )
        if wrong := [pair for pair in zip(short, longs) if not 1 <= pair[0] <= pair[1]]:
            raise ValueError(f"need 1 <= short <= long, got (short, long) {wrong[0]}")
        self.short, self.long, self.mode = tuple(short), longs, mode

    def __call__(self, sample: Sample) -> Sample:
        """The sample at a random size."""
        return resize(sample, *fit(*canvas(sample), *self._draw()))

    def _draw(self) -> tuple[int, int]:
        if self.mode == "choice":
            index = choose(len(self.short))
            return self.short[index], self.long[index]
        share = uniform(0, 1)
        return _between(self.short, share), _between(self.long, share)


def _between(ends: tuple[int, ...], share: float) -> int:
    """One of the whole numbers from the smaller to the larger end, both included, equally likely."""
    low, high = min(ends), max(ends)
    return min(high, low + int((high - low + 1) * share))
