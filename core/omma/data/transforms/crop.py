"""Parts of an image."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms.base import Transform, canvas, choose, keep_instances, map_spatial, uniform, wrap
from omma.registry import register
from omma.structures import Sample

Extent = float | tuple[float, float]


def crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    """The window of the image; boxes are cut at its border, and instances without area left are dropped."""
    cropped = map_spatial(
        sample,
        image=lambda image: image[top : top + height, left : left + width],
        points=lambda points: points - points.new_tensor([left, top]),
        masks=lambda mask: mask[top : top + height, left : left + width],
        size=(height, width),
    )
    return drop_outside(cropped)


def drop_outside(sample: Sample) -> Sample:
    """The sample without the boxes, and so the instances, of which no area is left on the canvas."""
    if "ignored_boxes" in sample:
        ignored = sample["ignored_boxes"]
        left_over = wrap(ignored.as_subclass(Tensor)[has_area(ignored)], like=ignored)
        sample = cast(Sample, {**sample, "ignored_boxes": left_over})
    return keep_instances(sample, has_area(sample["boxes"])) if "boxes" in sample else sample


def has_area(boxes: tv_tensors.BoundingBoxes) -> Tensor:
    """(N,) bool: whether each box has any."""
    corners = boxes.as_subclass(Tensor)
    return (corners[:, 2:] > corners[:, :2]).all(dim=1)


def centre_inside(sample: Sample, top: int, left: int, height: int, width: int) -> Tensor:
    """(N,) bool: whether the centre of each box lies in the window."""
    corners = sample["boxes"].as_subclass(Tensor)
    x, y = ((corners[:, :2] + corners[:, 2:]) / 2 - corners.new_tensor([left, top])).unbind(1)
    return (x > 0) & (x < width) & (y > 0) & (y < height)


@register
class RandomCrop(Transform):
    """A window at a random place; boxes, masks, labels and key points follow.

    Args:
        height: of the window: pixels, or a share of the image. A pair is a range from which a size is drawn.
            Windows are never larger than the image.
        width: likewise.
        relative: sizes are shares of the image, in 0..1.
        keep: the instances that stay: those with ``area`` left in the window, or with their ``centre`` in it.
        allow_empty: accept windows that keep no instance. Else, where none of ``tries`` windows keeps one,
            the whole sample is returned; one without instances is cropped anyhow.
        tries: windows drawn.
    """

    def __init__(
        self,
        *,
        height: Extent,
        width: Extent,
        relative: bool = False,
        keep: Literal["area", "centre"] = "area",
        allow_empty: bool = True,
        tries: int = 20,
    ) -> None:
        self.height, self.width = _extent("height", height, relative), _extent("width", width, relative)
        if tries < 1:
            raise ValueError(f"tries must be at least 1, got {tries}")
        self.relative, self.keep, self.allow_empty, self.tries = relative, keep, allow_empty, tries

    def __call__(self, sample: Sample) -> Sample:
        """The sample inside the window."""
        full_height, full_width = canvas(sample)
        wants_object = not self.allow_empty and "boxes" in sample and len(sample["boxes"]) > 0
        for _ in range(self.tries):
            height, width = self._length(self.height, full_height), self._length(self.width, full_width)
            top, left = choose(full_height - height + 1), choose(full_width - width + 1)
            cropped = self._crop(sample, top, left, height, width)
            if not wants_object or len(cropped["boxes"]):
                return cropped
        return sample

    def _crop(self, sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
        if self.keep == "centre" and "boxes" in sample:
            sample = keep_instances(sample, centre_inside(sample, top, left, height, width))
        return crop(sample, top, left, height, width)

    def _length(self, extent: tuple[float, float], full: int) -> int:
        low, high = (value * full if self.relative else min(value, full) for value in extent)
        length = low if low == high else uniform(low, high)
        return max(1, min(full, int(length + 0.5)))


def _extent(name: str, value: Extent, relative: bool) -> tuple[float, float]:
    low, high = (value, value) if isinstance(value, (int, float)) else value
    if not 0 < low <= high or (relative and high > 1):
        limit = "in 0..1" if relative else "in pixels"
        raise ValueError(f"{name} must be positive, {limit}, a pair in rising order; got {value}")
    return low, high


@register
class FilterBoxes(Transform):
    """Drops instances whose box is too small to learn from.

    Args:
        min_size: smallest width and height, pixels of the sample as it is then.
    """

    def __init__(self, *, min_size: float = 1.0) -> None:
        if min_size < 0:
            raise ValueError(f"min_size must be at least 0, got {min_size}")
        self.min_size = min_size

    def __call__(self, sample: Sample) -> Sample:
        """The sample with the larger instances."""
        if "boxes" not in sample:
            return sample
        corners = sample["boxes"].as_subclass(Tensor)
        sides = corners[:, 2:] - corners[:, :2]
        return keep_instances(sample, torch.all(sides >= self.min_size, dim=1))
