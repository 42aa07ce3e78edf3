"""Windows in which no class crowds out the others."""

from __future__ import annotations

from torch import Tensor

from omma.data.transforms import Transform
from omma.data.transforms.base import canvas, choose
from omma.data.transforms.crop import crop
from omma.registry import register
from omma.structures import IGNORED, Sample


@register
class SemanticCrop(Transform):
    """A window at a random place, drawn again while one class fills too much of it.

    Args:
        height: of the window, pixels; smaller where the image is.
        width: likewise.
        largest_share: most of the labelled pixels that one class may have; 1: any window will do.
        tries: windows drawn at most; the last one is taken as it is.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(self, *, height: int, width: int, largest_share: float = 0.75, tries: int = 10) -> None:
        if min(height, width, tries) < 1 or not 0 < largest_share <= 1:
            raise ValueError(
                "expected a height, a width and tries from 1 on and largest_share in 0..1, got "
                f"{height}, {width}, {tries} and {largest_share}"
            )
        self.height, self.width, self.largest_share, self.tries = height, width, largest_share, tries

    def __call__(self, sample: Sample) -> Sample:
        """The sample inside the window."""
        full_height, full_width = canvas(sample)
        height, width = min(self.height, full_height), min(self.width, full_width)
        top, left = choose(full_height - height + 1), choose(full_width - width + 1)
        for _ in range(self.tries - 1):
            if self._is_mixed(sample, slice(top, top + height), slice(left, left + width)):
                break
            top, left = choose(full_height - height + 1), choose(full_width - width + 1)
        return crop(sample, top, left, height, width)

    def _is_mixed(self, sample: Sample, rows: slice, columns: slice) -> bool:
        if self.largest_share == 1 or "semantic" not in sample:
            return True
        window = sample["semantic"].as_subclass(Tensor)[rows, columns]
        counts = window.flatten().bincount(minlength=256)
        counts[IGNORED] = 0
        return bool((counts > 0).sum() > 1 and counts.max() < self.largest_share * counts.sum())
