"""Several samples in one picture: where each lies, its pixels and its objects."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms.base import Transform, canvas, cut_outlines, map_spatial, wrap
from omma.data.transforms.crop import drop_outside
from omma.structures import IGNORED, INSTANCE_KEYS, Polygons, Sample

Rect = tuple[int, int, int, int]
"""(top, left, bottom, right): rows and columns of a picture."""
_MERGED = (*INSTANCE_KEYS, "ignored_boxes")


@dataclass(frozen=True)
class Span:
    """Pixels ``first`` to ``last`` of one side of an image, drawn from ``low`` to ``high`` of a picture's."""

    first: int
    last: int
    low: int
    high: int

    @property
    def scale(self) -> float:
        """Of coordinates in the image."""
        return (self.high - self.low) / (self.last - self.first)

    @property
    def shift(self) -> float:
        """Of the scaled coordinates."""
        return self.low - self.first * self.scale


@dataclass(frozen=True)
class Placed:
    """A sample and where a part of its image lies in a picture."""

    sample: Sample
    rows: Span
    columns: Span


@dataclass(frozen=True)
class Look:
    """What a window shows of a picture that isn't drawn yet."""

    whole: tuple[int, int]
    """(H, W) to which the picture is resized."""
    seen: Rect
    """What is needed of it then."""
    finish: Callable[[Sample, np.ndarray], Sample]
    """Makes the window's sample from one with the resized picture's objects, and the pixels of ``seen``."""


class Window(Transform):
    """A transform that shows a part of a picture, and can tell which before the picture is drawn."""

    @abstractmethod
    def look(self, size: tuple[int, int], boxes: Callable[[], Tensor]) -> Look:
        """A part, drawn at random, of a picture of ``size`` (H, W) with the objects ``boxes()`` (N, 4)."""


def pixels(sample: Sample) -> np.ndarray:
    """(H, W, 3) view of the image."""
    return sample["image"].as_subclass(Tensor).permute(1, 2, 0).numpy()


def lay(sample: Sample, whole: Rect, seen: Rect) -> Placed:
    """A sample whose image fills ``whole`` of a picture, cut to what shows in ``seen``.

    The cut is at whole pixels of both, so that the rest can be resized by itself. It lies where it would in
    an image that is resized as a whole, give or take half a pixel; objects go with it.
    """
    height, width = canvas(sample)
    rows = _span(height, (whole[0], whole[2]), (seen[0], seen[2]))
    return Placed(sample, rows, _span(width, (whole[1], whole[3]), (seen[1], seen[3])))


def _span(length: int, whole: tuple[int, int], seen: tuple[int, int]) -> Span:
    low, high = whole
    scale = (high - low) / length
    # One pixel more on both sides: those at the border are interpolated with it.
    first = max(0, math.floor((seen[0] - low) / scale) - 1)
    last = min(length, math.ceil((seen[1] - low) / scale) + 1)
    if first >= last:
        return Span(0, length, low, high)
    start = low + round(first * scale)
    return Span(first, last, start, max(start + 1, low + round(last * scale)))


def paint(picture: np.ndarray, image: np.ndarray, part: Placed, origin: tuple[int, int] = (0, 0)) -> None:
    """Draw a part, whose image is (H, W, 3), into what is there of a picture from ``origin`` (y, x) on."""
    rows, columns = part.rows, part.columns
    y, x = rows.low - origin[0], columns.low - origin[1]
    size = (columns.high - columns.low, rows.high - rows.low)
    top, bottom = max(y, 0), min(y + size[1], picture.shape[0])
    left, right = max(x, 0), min(x + size[0], picture.shape[1])
    if top >= bottom or left >= right:
        return
    image = image[rows.first : rows.last, columns.first : columns.last]
    if image.shape[1::-1] != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    picture[top:bottom, left:right] = image[top - y : bottom - y, left - x : right - x]


def nearest(mask: np.ndarray, part: Placed, size: tuple[int, int], beside: int = 0) -> np.ndarray:
    """A part's bitmap (H, W) in a picture of ``size``; ``beside`` is the value there."""
    y, x = part.rows, part.columns
    # From pixel centres to pixel centres, as a resize does.
    matrix = np.array(
        [
            [1 / x.scale, 0, (0.5 - x.shift) / x.scale - 0.5],
            [0, 1 / y.scale, (0.5 - y.shift) / y.scale - 0.5],
        ]
    )
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask, matrix, (size[1], size[0]), flags=flags, borderValue=beside)


def with_pixels(sample: Sample, image: np.ndarray) -> Sample:
    """The sample with another image, (H, W, 3)."""
    return cast(Sample, {**sample, "image": tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))})


def show(
    sample: Sample, whole: Rect, size: tuple[int, int], fill: tuple[int, int, int] = (0, 0, 0)
) -> Sample:
    """The sample with its image drawn at ``whole`` of a canvas of ``size`` (H, W), whatever lies on it.

    Args:
        sample: what is drawn.
        whole: where its image lies, in part or all beside the canvas too.
        size: of the canvas.
        fill: (R, G, B) beside the image; masks have 0 there.
    """
    part = lay(sample, whole, (0, 0, *size))
    y, x = part.rows, part.columns

    def draw(image: np.ndarray) -> np.ndarray:
        out = np.empty((*size, 3), np.uint8)
        out[:] = fill
        paint(out, image, part)
        return out

    return drop_outside(
        map_spatial(
            cut_outlines(sample) if _shows_border(part, size) else sample,
            image=draw,
            points=lambda p: p * p.new_tensor([x.scale, y.scale]) + p.new_tensor([x.shift, y.shift]),
            masks=lambda mask: nearest(mask, part, size),
            semantic=lambda mask: nearest(mask, part, size, IGNORED),
            size=size,
        )
    )


def merge(parts: Sequence[Placed], size: tuple[int, int]) -> Sample:
    """The objects of all parts in the pixels of a picture of ``size`` (H, W), without those outside of it.

    The rest is the first part's; the image is not there yet.

    Raises:
        ValueError: a sample has something that can't be mixed.
    """
    out: dict[str, Any] = {"meta": parts[0].sample["meta"]}
    for key in dict.fromkeys(key for part in parts for key in part.sample):
        if key in _MERGED:
            held = [part for part in parts if key in part.sample]
            out[key] = _join([part.sample[key] for part in held], held, size)
        elif key not in ("image", "meta"):
            raise ValueError(f"samples with {key!r} can't be mixed; there are {', '.join(_MERGED)} to mix")
    return drop_outside(cast(Sample, out))


def _join(values: list[Any], parts: Sequence[Placed], size: tuple[int, int]) -> Any:
    like = values[0]
    if all(isinstance(value, Polygons) for value in values):
        outlines = [v.clipped() if _shows_border(p, size) else v for v, p in zip(values, parts)]
        return Polygons.wrap(_moved(outlines, parts), Polygons.cat(outlines, size))
    if isinstance(like, Polygons | tv_tensors.Mask):
        return tv_tensors.Mask(torch.cat([_bitmaps(v, p, size) for v, p in zip(values, parts)]))
    if isinstance(like, tv_tensors.BoundingBoxes):
        limit = torch.tensor([size[1], size[0], size[1], size[0]], dtype=torch.float32)
        return wrap(_moved(values, parts).clamp_(min=0).minimum(limit), like=like, canvas_size=size)
    if isinstance(like, tv_tensors.KeyPoints):
        return wrap(_moved(values, parts), like=like, canvas_size=size)
    return torch.cat(values)


def _moved(values: Sequence[Tensor], parts: Sequence[Placed]) -> Tensor:
    """(R, ..., 2k) x, y pairs in the rows of all ``values``, each scaled and shifted as its part is."""
    counts = torch.tensor([value.shape[0] for value in values])
    change = [[[p.columns.scale, p.rows.scale], [p.columns.shift, p.rows.shift]] for p in parts]
    scale, shift = torch.tensor(change).repeat_interleave(counts, dim=0)[:, :, None].unbind(1)
    rows = torch.cat([value.as_subclass(Tensor) for value in values])
    pairs = rows.reshape(len(rows), rows.shape[1:].numel() // 2, 2)
    return (pairs * scale + shift).reshape(rows.shape)


def _shows_border(part: Placed, size: tuple[int, int]) -> bool:
    """Whether some of the picture lies beside the part's image, where its outlines must not go on."""
    rows, columns = part.rows, part.columns
    return max(rows.low, columns.low) > 0 or rows.high < size[0] or columns.high < size[1]


def _bitmaps(masks: Polygons | tv_tensors.Mask, part: Placed, size: tuple[int, int]) -> Tensor:
    bitmaps = (masks.rasterise() if isinstance(masks, Polygons) else masks).numpy()
    out = np.empty((len(bitmaps), *size), bitmaps.dtype)
    for target, bitmap in zip(out, bitmaps):
        target[:] = nearest(bitmap, part, size)
    return torch.from_numpy(out)
