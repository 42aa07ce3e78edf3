"""One object cut out of its image by one affine warp (Xiao et al., Simple Baselines, 2018).

Key points and matrices count pixels as OpenCV does: whole numbers are centres of pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms import Transform
from omma.data.transforms.base import canvas, with_meta, wrap
from omma.data.transforms.picture import pixels
from omma.registry import register
from omma.structures import Sample, Skeleton
from omma_pose.datasets.skeletons import skeleton_of

_NORMAL = NormalDist()
_BELOW = _NORMAL.cdf(-1.0)


@dataclass(frozen=True)
class Crop:
    """What of an image a crop shows: a turned rectangle, in pixels of the image."""

    centre: tuple[float, float]
    size: tuple[float, float]
    """(width, height)"""
    degrees: float = 0.0
    """How far the content is turned, clockwise as it is seen."""
    mirrored: bool = False
    """Left to right."""

    def scaled(self, factor: float) -> Crop:
        """A larger or smaller one with the same centre."""
        return replace(self, size=(self.size[0] * factor, self.size[1] * factor))

    def shifted(self, x: float, y: float) -> Crop:
        """One moved by shares of its width and height."""
        (cx, cy), (width, height) = self.centre, self.size
        return replace(self, centre=(cx + x * width, cy + y * height))

    def widened(self, aspect: float) -> Crop:
        """The smallest one around it whose width is ``aspect`` times its height."""
        width, height = self.size
        return replace(self, size=(max(width, height * aspect), max(height, width / aspect)))


def crop_matrix(crop: Crop, height: int, width: int, *, unbiased: bool = False) -> np.ndarray:
    """(2, 3) float64, from pixels of the image to those of a crop of ``height`` x ``width``.

    Args:
        crop: whose width and height are in the ratio of the result's.
        height, width: of the result.
        unbiased: the sides of the rectangle meet the centres of the outermost pixels (Huang et al., UDP,
            2020) and not, half a pixel farther, their edges as OpenMMLab counts them.
    """
    short = 1 if unbiased else 0
    across, down = width - short, height - short
    scale_x, scale_y = across / max(crop.size[0], 1e-6), down / max(crop.size[1], 1e-6)
    sin, cos = math.sin(math.radians(crop.degrees)), math.cos(math.radians(crop.degrees))
    side = -1.0 if crop.mirrored else 1.0
    a, b, c, d = side * scale_x * cos, -scale_x * sin, side * scale_y * sin, scale_y * cos
    x, y = crop.centre
    return np.array([[a, b, across / 2 - a * x - b * y], [c, d, down / 2 - c * x - d * y]])


def with_box(sample: Sample) -> Sample:
    """The sample, with the whole image as its box where it has none."""
    if "boxes" in sample:
        return sample
    size = height, width = canvas(sample)
    whole = torch.tensor([[0.0, 0.0, width, height]])
    boxes = tv_tensors.BoundingBoxes(whole, format="XYXY", canvas_size=size)  # pyright: ignore[reportCallIssue]
    return cast(Sample, {**sample, "boxes": boxes})


def box_crop(sample: Sample, padding: float) -> Crop:
    """Around the one box of a sample.

    Raises:
        ValueError: there are several boxes.
    """
    boxes = sample["boxes"]
    if len(boxes) != 1:
        raise ValueError(f"a top-down crop shows one object, but the sample has {len(boxes)} boxes")
    x1, y1, x2, y2 = _plain(boxes)[0].tolist()
    # A box of no width or height would make the matrix infinite.
    size = (max(x2 - x1, 1.0), max(y2 - y1, 1.0))
    return Crop(((x1 + x2) / 2, (y1 + y2) / 2), size).scaled(padding)


def cut_out(sample: Sample, crop: Crop, height: int, width: int, *, unbiased: bool) -> Sample:
    """The sample with the crop as its image, the matrix in ``crop``, and all points moved by it.

    Boxes become those around their moved corners; the other side of a mirror has other key points, which
    the caller must exchange.
    """
    matrix = crop_matrix(crop.widened(width / height), height, width, unbiased=unbiased)
    warped = cv2.warpAffine(pixels(sample), matrix, (width, height), flags=cv2.INTER_LINEAR)
    size = (height, width)
    out: dict[str, Any] = dict(sample)
    out["image"] = tv_tensors.Image(torch.from_numpy(warped).permute(2, 0, 1))
    out["crop"] = torch.from_numpy(matrix.astype(np.float32))
    # Sides of boxes lie between pixels, half of one beside the centres that the matrix counts from.
    x1, y1, x2, y2 = _plain(sample["boxes"])[0].tolist()
    corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) - 0.5
    moved = moved_by(corners, matrix) + 0.5
    around = np.concatenate([moved.min(axis=0), moved.max(axis=0)])[None].astype(np.float32)
    out["boxes"] = wrap(torch.from_numpy(around), like=sample["boxes"], canvas_size=size)
    if "keypoints" in sample:
        points = _plain(sample["keypoints"]).numpy().astype(np.float64)
        points = moved_by(points, matrix).astype(np.float32)
        out["keypoints"] = wrap(torch.from_numpy(points), like=sample["keypoints"], canvas_size=size)
    return with_meta(cast(Sample, out), flipped=crop.mirrored)


def moved_by(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) under an affine map (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


@register
class TopDownCrop(Transform):
    """The box of a sample, with some of what is around it, at a fixed size.

    A sample without boxes is shown as a whole.

    Args:
        height: of the result, pixels.
        width: likewise.
        padding: sides of what is shown over those of the box.
        unbiased: as ``crop_matrix``; what the model's codec asks for.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(self, *, height: int, width: int, padding: float = 1.25, unbiased: bool = False) -> None:
        if min(height, width) < 2 or padding <= 0:
            raise ValueError(f"need sides from 2 on and a positive padding, got {height}, {width}, {padding}")
        self.height, self.width, self.padding, self.unbiased = height, width, padding, unbiased

    def __call__(self, sample: Sample) -> Sample:
        """The sample with the crop as its image."""
        sample = with_box(sample)
        crop = box_crop(sample, self.padding)
        return cut_out(sample, crop, self.height, self.width, unbiased=self.unbiased)


@register
class RandomTopDownCrop(Transform):
    """As ``TopDownCrop``, mirrored, of half a body, moved, scaled and turned at random, in one warp.

    Shift, scale and turn are drawn from a normal distribution that is cut at one deviation.

    Args:
        height: of the result, pixels.
        width: likewise.
        skeleton: whose pairs change places in a mirror, and which says what half a body is.
        padding: sides of what is shown over those of the box.
        mirror: share of the samples that are mirrored left to right.
        half_body: share of those with enough labelled key points that show the upper or the lower ones only.
        half_body_least: labelled key points that are enough.
        half_body_padding: sides of what is shown over those of the box around the half's key points.
        shift: largest move either way, shares of what is shown.
        shift_prob: share of the samples that are moved.
        scale: range of the factor on what is shown.
        degrees: largest turn either way.
        turn_prob: share of the samples that are turned.
        unbiased: as ``crop_matrix``; what the model's codec asks for.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        skeleton: Skeleton | str | None = None,
        padding: float = 1.25,
        mirror: float = 0.5,
        half_body: float = 0.3,
        half_body_least: int = 8,
        half_body_padding: float = 1.5,
        shift: float = 0.16,
        shift_prob: float = 0.3,
        scale: tuple[float, float] = (0.5, 1.5),
        degrees: float = 80.0,
        turn_prob: float = 0.6,
        unbiased: bool = False,
    ) -> None:
        if min(height, width) < 2 or min(padding, half_body_padding) <= 0 or not 0 < scale[0] <= scale[1]:
            raise ValueError("need sides from 2 on, positive paddings and a rising scale")
        if not all(0 <= prob <= 1 for prob in (mirror, half_body, shift_prob, turn_prob)):
            raise ValueError("mirror, half_body, shift_prob and turn_prob must be in 0..1")
        self.skeleton = skeleton_of(skeleton)
        if self.skeleton is None and (mirror or half_body):
            raise ValueError("mirror and half_body need a skeleton: name one, or set both to 0")
        self.order = None if self.skeleton is None else torch.tensor(self.skeleton.mirror)
        self.height, self.width, self.padding, self.unbiased = height, width, padding, unbiased
        self.mirror, self.half_body, self.half_body_least = mirror, half_body, half_body_least
        self.half_body_padding, self.shift, self.shift_prob = half_body_padding, shift, shift_prob
        self.scale, self.degrees, self.turn_prob = scale, degrees, turn_prob

    def __call__(self, sample: Sample) -> Sample:
        """The sample with the crop as its image; where that is mirrored, left and right change names."""
        sample = with_box(sample)
        crop = self.draw(sample)
        out = cut_out(sample, crop, self.height, self.width, unbiased=self.unbiased)
        if crop.mirrored and "keypoints" in out and self.order is not None:
            points = _plain(out["keypoints"]).index_select(1, self.order)
            swapped = {
                "keypoints": wrap(points, like=out["keypoints"]),
                "visibility": out["visibility"].index_select(1, self.order),
            }
            out = cast(Sample, {**out, **swapped})
        return out

    def draw(self, sample: Sample) -> Crop:
        """What is shown of a sample."""
        # All at once: a number by itself costs as much as ten.
        half, which, shift, turn, mirror, *normal = torch.rand(9, dtype=torch.float64).tolist()
        crop = self._half(sample, half, which) or box_crop(sample, self.padding)
        x, y, size, angle = map(_truncated_normal, normal)
        if shift < self.shift_prob:
            crop = crop.shifted(x * self.shift, y * self.shift)
        low, high = self.scale
        crop = crop.scaled((low + high) / 2 + size * (high - low) / 2)
        degrees = angle * self.degrees if turn < self.turn_prob else 0.0
        return replace(crop, degrees=degrees, mirrored=mirror < self.mirror)

    def _half(self, sample: Sample, draw: float, which: float) -> Crop | None:
        """Around the upper or the lower key points; None where that isn't drawn or there are too few."""
        if draw >= self.half_body or self.skeleton is None or "keypoints" not in sample:
            return None
        labelled = (sample["visibility"][0] > 0).tolist()
        if sum(labelled) < self.half_body_least:
            return None
        halves = [[i for i in half if labelled[i]] for half in self.skeleton.halves]
        enough = [half for half in halves if len(half) >= 2]
        if not enough:
            return None
        points = _plain(sample["keypoints"])[0].numpy()[enough[int(which * len(enough))]]
        (x, y), (width, height) = points.mean(axis=0).tolist(), np.ptp(points, axis=0).tolist()
        return Crop((x, y), (max(width, 1.0), max(height, 1.0))).scaled(self.half_body_padding)


def _plain(values: Tensor) -> Tensor:
    """As a mere tensor, whose operations cost a fraction of those of torchvision's."""
    return values.as_subclass(Tensor)


def _truncated_normal(share: float) -> float:
    """The number in -1..1 under which lies this share of a normal distribution of deviation 1, cut there."""
    # Of the whole distribution 0.1587 lies below -1, and 0.8413 below 1.
    return _NORMAL.inv_cdf(_BELOW + share * (1 - 2 * _BELOW))
