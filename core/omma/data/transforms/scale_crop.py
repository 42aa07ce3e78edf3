"""A window of a resized image, of which only the window is computed."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from torch import Tensor

from omma.data.transforms.base import Transform, canvas, choose, keep_instances, map_spatial, uniform, wrap
from omma.data.transforms.crop import has_area
from omma.data.transforms.mix import paint
from omma.registry import register
from omma.structures import Sample


@register
class RandomScaleCrop(Transform):
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
        old_height, old_width = canvas(sample)
        scale = min(self.height / old_height, self.width / old_width) * uniform(*self.ratio)
        height, width = max(1, int(old_height * scale + 0.5)), max(1, int(old_width * scale + 0.5))
        size = (min(height, self.crop_height), min(width, self.crop_width))
        wants_object = not self.allow_empty and len(sample.get("boxes", ())) > 0
        for _ in range(self.tries):
            corner = (-choose(height - size[0] + 1), -choose(width - size[1] + 1))
            if not wants_object or _sees_object(sample, (height, width), corner, size):
                break
        return _window(sample, (height, width), corner, size)  # pyright: ignore[reportPossiblyUnboundVariable]


def _sees_object(
    sample: Sample, whole: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]
) -> bool:
    boxes = sample["boxes"].as_subclass(Tensor)
    old_height, old_width = canvas(sample)
    scale = boxes.new_tensor([whole[1] / old_width, whole[0] / old_height])
    shift = boxes.new_tensor([float(corner[1]), float(corner[0])])
    low = (boxes[:, :2] * scale + shift).clamp(min=0)
    high = (boxes[:, 2:] * scale + shift).minimum(boxes.new_tensor([float(size[1]), float(size[0])]))
    return bool((high > low).all(dim=1).any())


def _window(sample: Sample, whole: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]) -> Sample:
    old_height, old_width = canvas(sample)
    y, x = whole[0] / old_height, whole[1] / old_width

    def draw(image: np.ndarray) -> np.ndarray:
        out = np.zeros((*size, image.shape[2]), image.dtype)
        paint(out, image, whole, corner)
        return out

    def bitmap(mask: np.ndarray) -> np.ndarray:
        matrix = np.array([[1 / x, 0, (0.5 - corner[1]) / x - 0.5], [0, 1 / y, (0.5 - corner[0]) / y - 0.5]])
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(mask, matrix, (size[1], size[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    moved = map_spatial(
        sample,
        image=draw,
        points=lambda p: p * p.new_tensor([x, y]) + p.new_tensor([float(corner[1]), float(corner[0])]),
        masks=bitmap,
        size=size,
    )
    if "ignored_boxes" in moved:
        ignored = moved["ignored_boxes"]
        left = wrap(ignored.as_subclass(Tensor)[has_area(ignored)], like=ignored)
        moved = cast(Sample, {**moved, "ignored_boxes": left})
    return keep_instances(moved, has_area(moved["boxes"])) if "boxes" in moved else moved
