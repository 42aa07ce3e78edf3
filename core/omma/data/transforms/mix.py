"""Several samples in one picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms.base import canvas, choose, keep_instances, map_spatial, uniform, wrap
from omma.data.transforms.crop import has_area
from omma.data.transforms.flip import flip
from omma.registry import register
from omma.structures import Polygons, Sample

Draw = Callable[[], Sample]
_MUCH = 0.4
"""Visible share of an image from which it pays to resize all of it: that is faster, pixel by pixel."""
_MERGED = ("boxes", "labels", "ignored_boxes", "masks")


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
    ) -> None:
        if min(height, width) < 1 or not 0 <= fill <= 255 or not 0 <= prob <= 1:
            raise ValueError(
                "need height and width of at least 1, fill in 0..255 and prob in 0..1, got "
                f"{height}, {width}, {fill}, {prob}"
            )
        self.height, self.width, self.centre, self.fill, self.prob = height, width, centre, fill, prob

    def mix(self, sample: Sample, draw: Draw) -> Sample:
        """The mosaic, with the ``meta`` of ``sample``."""
        if uniform(0, 1) >= self.prob:
            return sample
        size = (2 * self.height, 2 * self.width)
        x, y = int(uniform(*self.centre) * self.width), int(uniform(*self.centre) * self.height)
        picture = np.full((*size, 3), self.fill, np.uint8)
        parts = []
        for i, each in enumerate((sample, draw(), draw(), draw())):
            old_height, old_width = canvas(each)
            scale = min(self.height / old_height, self.width / old_width)
            height, width = int(old_height * scale), int(old_width * scale)
            left, top = (x - width if i % 2 == 0 else x), (y - height if i < 2 else y)
            parts.append(place(each, (height, width), (top, left), size))
            paint(picture, pixels(each), (height, width), (top, left))
        return merge(sample, picture, parts)


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
        picture = np.full((*size, 3), self.fill, np.uint8)
        paint(picture, pixels(other), inner, (top, left))
        mixed = cv2.addWeighted(pixels(sample), 0.5, picture, 0.5, 0)
        return merge(sample, mixed, [sample, place(other, inner, (top, left), size)])


def pixels(sample: Sample) -> np.ndarray:
    """(H, W, 3) view of the image."""
    return sample["image"].as_subclass(Tensor).permute(1, 2, 0).numpy()


def paint(picture: np.ndarray, image: np.ndarray, size: tuple[int, int], corner: tuple[int, int]) -> None:
    """Draw ``image`` at ``size`` (H, W) into ``picture``, with its (top, left) ``corner`` there.

    Where little of it lies in the picture, only that is resized.
    """
    (height, width), (top, left) = size, corner
    low_y, low_x = max(top, 0), max(left, 0)
    high_y, high_x = min(top + height, picture.shape[0]), min(left + width, picture.shape[1])
    if low_y >= high_y or low_x >= high_x:
        return
    if (high_y - low_y) * (high_x - low_x) >= _MUCH * height * width:
        whole = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        picture[low_y:high_y, low_x:high_x] = whole[low_y - top : high_y - top, low_x - left : high_x - left]
        return
    y, x = image.shape[0] / height, image.shape[1] / width
    # From pixel centres to pixel centres, as a resize of the whole would.
    matrix = np.array([[x, 0, (low_x - left + 0.5) * x - 0.5], [0, y, (low_y - top + 0.5) * y - 0.5]])
    picture[low_y:high_y, low_x:high_x] = cv2.warpAffine(
        image,
        matrix,
        (high_x - low_x, high_y - low_y),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def place(sample: Sample, size: tuple[int, int], corner: tuple[int, int], outer: tuple[int, int]) -> Sample:
    """Objects of a sample that is drawn at ``size`` at ``corner`` of a picture of ``outer`` (H, W).

    Those outside are dropped; the image stays as it is.
    """
    old_height, old_width = canvas(sample)
    scale = torch.tensor([size[1] / old_width, size[0] / old_height])
    shift = torch.tensor([float(corner[1]), float(corner[0])])

    def bitmap(mask: np.ndarray) -> np.ndarray:
        y, x = old_height / size[0], old_width / size[1]
        # From pixel centres to pixel centres, as in ``paint``.
        matrix = np.array([[x, 0, (0.5 - corner[1]) * x - 0.5], [0, y, (0.5 - corner[0]) * y - 0.5]])
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(mask, matrix, (outer[1], outer[0]), flags=flags)

    rest: dict[str, Any] = {key: value for key, value in sample.items() if key != "image"}
    moved = map_spatial(
        cast(Sample, rest),
        image=lambda image: image,
        points=lambda points: points * scale + shift,
        masks=bitmap,
        size=outer,
    )
    if "ignored_boxes" in moved:
        ignored = moved["ignored_boxes"]
        moved["ignored_boxes"] = wrap(ignored.as_subclass(Tensor)[has_area(ignored)], like=ignored)
    return keep_instances(moved, has_area(moved["boxes"])) if "boxes" in moved else moved


def merge(sample: Sample, picture: np.ndarray, parts: Sequence[Sample]) -> Sample:
    """The sample with another picture (H, W, 3) and the objects of all parts, which lie in its pixels."""
    size = (picture.shape[0], picture.shape[1])
    out: dict[str, Any] = dict(sample)
    out["image"] = tv_tensors.Image(torch.from_numpy(picture).permute(2, 0, 1))
    for key in _MERGED:
        values = [part[key] for part in parts if key in part]
        if not values:
            continue
        outlines = [value for value in values if isinstance(value, Polygons)]
        if len(outlines) == len(values):
            out[key] = Polygons.cat(outlines, size)
            continue
        values = [value.rasterise() if isinstance(value, Polygons) else value for value in values]
        joined = torch.cat([value.as_subclass(Tensor) for value in values])
        like = values[0]
        if isinstance(like, tv_tensors.BoundingBoxes):
            out[key] = wrap(joined, like=like, canvas_size=size)
        else:
            out[key] = wrap(joined, like=like) if isinstance(like, tv_tensors.TVTensor) else joined
    return cast(Sample, out)
