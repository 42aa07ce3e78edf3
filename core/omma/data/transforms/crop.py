"""Parts of an image."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms.base import Transform, canvas, choose, keep_instances, map_spatial
from omma.registry import register
from omma.structures import Sample


def crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    """The window of the image; boxes are cut at its border, and instances without area left are dropped."""
    sample = map_spatial(
        sample,
        image=lambda image: image[top : top + height, left : left + width],
        points=lambda points: points - points.new_tensor([left, top]),
        masks=lambda mask: mask[top : top + height, left : left + width],
        size=(height, width),
    )
    for key in ("boxes", "ignored_boxes"):
        if key in sample:
            boxes = sample[key].as_subclass(Tensor)
            limit = boxes.new_tensor([width, height, width, height])
            cut = tv_tensors.wrap(boxes.clamp(min=0).minimum(limit), like=sample[key])
            sample = cast(Sample, {**sample, key: cut})
    if "boxes" in sample:
        boxes = sample["boxes"].as_subclass(Tensor)
        sample = keep_instances(sample, (boxes[:, 2:] > boxes[:, :2]).all(dim=1))
    return sample


@register
class RandomCrop(Transform):
    """A window of fixed size at a random place.

    Args:
        height: of the window, pixels; the image's if that is smaller.
        width: likewise.
        allow_empty: accept windows without any object; else the whole image is returned where none of
            ``tries`` windows has one.
        tries: windows drawn.
    """

    def __init__(self, *, height: int, width: int, allow_empty: bool = True, tries: int = 10) -> None:
        if height < 1 or width < 1 or tries < 1:
            raise ValueError(f"height, width and tries must be positive, got {height}, {width}, {tries}")
        self.height, self.width, self.allow_empty, self.tries = height, width, allow_empty, tries

    def __call__(self, sample: Sample) -> Sample:
        """The window."""
        full_height, full_width = canvas(sample)
        height, width = min(self.height, full_height), min(self.width, full_width)
        for _ in range(self.tries):
            top, left = choose(full_height - height + 1), choose(full_width - width + 1)
            if self.allow_empty or _holds_centre(sample, top, left, height, width):
                return crop(sample, top, left, height, width)
        return sample


def _holds_centre(sample: Sample, top: int, left: int, height: int, width: int) -> bool:
    if "boxes" not in sample or not len(sample["boxes"]):
        return True
    boxes = sample["boxes"].as_subclass(Tensor)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2 - left, (boxes[:, 1] + boxes[:, 3]) / 2 - top
    return bool(torch.any((x > 0) & (x < width) & (y > 0) & (y < height)))
