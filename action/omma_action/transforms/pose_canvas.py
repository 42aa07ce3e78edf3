"""Skeletons in images, cut out, resized and mirrored; joints (x, y, score) in pixels of ``canvas``.

A coordinate of 0 is that of a joint that wasn't found, and stays 0.
"""

from __future__ import annotations

import math

import numpy as np

from omma.data.transforms import Transform
from omma.data.transforms.base import choose, uniform
from omma.registry import register
from omma.structures import Sample
from omma_action.layouts import LAYOUTS, LayoutName
from omma_action.transforms.skeleton import with_joints

_TRIES = 10


def moved(sample: Sample, top: int, left: int, canvas: tuple[int, int]) -> Sample:
    """The window of so many pixels (height, width) from (top, left) on."""
    joints = sample["skeleton"].numpy().copy()
    points = joints[..., :2]
    points -= np.array([left, top], np.float32) * (points != 0)
    return with_joints(sample, joints, canvas)


@register
class CropToPose(Transform):
    """Cuts out the box around all joints of all frames, with a border (Duan et al., PoseC3D, CVPR 2022).

    Args:
        border: share of the box's sides that it grows by.
        least: boxes of a smaller width or height, in pixels, are no reason to cut.
        ratio: height by width that the box is brought to by growing; null: any.
    """

    def __init__(self, *, border: float = 0.25, least: float = 10.0, ratio: float | None = 1.0) -> None:
        if border < 0 or least <= 0 or (ratio is not None and ratio <= 0):
            raise ValueError(
                f"need border of at least 0, least and ratio above 0, got {border}, {least}, {ratio}"
            )
        self.border, self.least, self.ratio = border, least, ratio

    def __call__(self, sample: Sample) -> Sample:
        """The sample, cut; it may show what lies beside the image."""
        points = sample["skeleton"].numpy()[..., :2]
        found = points != 0
        low = points.min(axis=(0, 1, 2, 3), where=found, initial=np.inf).astype(float)
        high = points.max(axis=(0, 1, 2, 3), where=found, initial=-np.inf).astype(float)
        if not (high - low).min() >= self.least:
            return sample
        centre, (width, height) = (low + high) / 2, (high - low) / 2 * (1 + self.border)
        if self.ratio is not None:
            height = max(self.ratio * width, height)
            width = max(height / self.ratio, width)
        left, top, right, bottom = (
            int(edge)
            for edge in (centre[0] - width, centre[1] - height, centre[0] + width, centre[1] + height)
        )
        return moved(sample, top, left, (bottom - top, right - left))


@register
class ResizePose(Transform):
    """To another size.

    Args:
        height, width: of the result, pixels; or
        short: its shorter side, where the shape stays.
    """

    def __init__(
        self, *, height: int | None = None, width: int | None = None, short: int | None = None
    ) -> None:
        if (short is None) == (height is None or width is None) or min(
            height or 1, width or 1, short or 1
        ) < 1:
            raise ValueError(
                f"need height and width, or short, all above 0, got {height}, {width} and {short}"
            )
        self.height, self.width, self.short = height, width, short

    def __call__(self, sample: Sample) -> Sample:
        """The sample in the new size."""
        height, width = sample["canvas"]
        if self.height is not None and self.width is not None:
            size = (self.height, self.width)
        else:
            factor = (self.short or 0) / min(height, width)
            size = (int(height * factor + 0.5), int(width * factor + 0.5))
        joints = sample["skeleton"].numpy().copy()
        joints[..., :2] *= np.array([size[1] / width, size[0] / height], np.float32)
        return with_joints(sample, joints, size)


@register
class RandomResizedCropPose(Transform):
    """A random window of a share of the area (Szegedy et al., CVPR 2015); what resizes it comes after.

    Args:
        area: range of the share.
        ratio: range of width by height.
    """

    def __init__(
        self, *, area: tuple[float, float] = (0.56, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
    ) -> None:
        if not 0 < area[0] <= area[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"need rising ranges, area within 0..1, got {area} and {ratio}")
        self.area, self.ratio = area, ratio

    def __call__(self, sample: Sample) -> Sample:
        """The window; the largest square in the middle where none that was drawn fits."""
        height, width = sample["canvas"]
        for _ in range(_TRIES):
            ratio = math.exp(uniform(*(math.log(bound) for bound in self.ratio)))
            pixels = uniform(*self.area) * height * width
            size = (round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio)))
            if size[0] <= height and size[1] <= width:
                return moved(sample, choose(height - size[0] + 1), choose(width - size[1] + 1), size)
        side = min(height, width)
        return moved(sample, (height - side) // 2, (width - side) // 2, (side, side))


@register
class CentreCropPose(Transform):
    """The middle.

    Args:
        size: side of the square, pixels.
    """

    def __init__(self, *, size: int) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.size = size

    def __call__(self, sample: Sample) -> Sample:
        """The square, or as much of it as there is."""
        height, width = sample["canvas"]
        rows, columns = min(self.size, height), min(self.size, width)
        return moved(sample, (height - rows) // 2, (width - columns) // 2, (rows, columns))


@register
class FlipPose(Transform):
    """Mirrors left to right a share of the samples; left and right joints change places.

    Args:
        layout: which joints these are.
        prob: the share.
    """

    def __init__(self, *, layout: LayoutName, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be in 0..1, got {prob}")
        self.mirror, self.prob = np.array(LAYOUTS[layout].mirror), prob

    def __call__(self, sample: Sample) -> Sample:
        """The sample, mirrored or not."""
        if uniform(0, 1) >= self.prob:
            return sample
        joints = sample["skeleton"].numpy()[..., self.mirror, :]
        columns = joints[..., 0]
        joints[..., 0] = np.where(columns != 0, sample["canvas"][1] - columns, 0)
        return with_joints(sample, joints)
