"""Skeletons where and as large as networks are used to."""

from __future__ import annotations

from typing import Literal

import numpy as np

from omma.data.transforms import Transform
from omma.registry import register
from omma.structures import Sample
from omma_action.layouts import LAYOUTS, LayoutName
from omma_action.transforms.skeleton import SkeletonTransform, present, with_joints

_LEAST_EXTENT = 10
"""Pixels; poses that are smaller say nothing about where a person is."""


@register
class NormalizeSkeleton2D(Transform):
    """x and y from pixels to -1..1; joints that weren't found to 0.

    Args:
        threshold: joints of at most this score weren't found.
        extent: what -1..1 spans: the image, or the box of all joints that were found.
    """

    def __init__(self, *, threshold: float = 0.0, extent: Literal["image", "pose"] = "image") -> None:
        self.threshold, self.extent = threshold, extent

    def __call__(self, sample: Sample) -> Sample:
        """The sample with joints (x, y, score) normalised.

        Raises:
            ValueError: its joints don't lie in an image.
        """
        joints = sample["skeleton"].numpy()
        height, width = sample["canvas"]
        if min(height, width) < 1:
            raise ValueError(
                f"{sample['meta'].path}: NormalizeSkeleton2D needs joints in an image, but its size isn't "
                "known; for joints in space take NormalizeSkeleton3D"
            )
        found = joints[..., 2] > self.threshold
        centre = half = np.array([width / 2, height / 2], np.float32)
        if self.extent == "pose":
            centre, half = _extent(joints[..., :2][found])
        out = joints.copy()
        out[..., :2] = (out[..., :2] - centre) / half * found[..., None]
        return with_joints(sample, out)


def _extent(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half the sides of the box around points (n, 2); of one that is too small those of -1..1."""
    low = points.min(axis=0, initial=np.inf)
    high = points.max(axis=0, initial=-np.inf)
    if not (high - low).min() > _LEAST_EXTENT:
        return np.zeros(2, np.float32), np.ones(2, np.float32)
    return (low + high) / 2, (high - low) / 2


@register
class NormalizeSkeleton3D(SkeletonTransform):
    """The first person's first pose upright at the origin (Shi et al., 2s-AGCN, CVPR 2019).

    The person who is seen in most frames becomes the first, and frames without them go. All is moved by the
    layout's origin in the first frame; turned so that the spine points along z, then so that the line from
    the left shoulder to the right one points along x.

    Args:
        layout: which joints these are.
        align_centre, align_spine, align_shoulders: whether to do so.
        unit: divide by the mean length of the spine over the frames, so that persons are of one size.
    """

    def __init__(
        self,
        *,
        layout: LayoutName,
        align_centre: bool = True,
        align_spine: bool = True,
        align_shoulders: bool = True,
        unit: bool = False,
    ) -> None:
        self.layout = LAYOUTS[layout]
        if self.layout.spine is None or self.layout.shoulders is None:
            known = [name for name, each in LAYOUTS.items() if each.spine is not None]
            raise ValueError(f"the joints of '{layout}' don't lie in space; those of {', '.join(known)} do")
        self.spine, self.shoulders = self.layout.spine, self.layout.shoulders
        self.align_centre, self.align_spine, self.align_shoulders = align_centre, align_spine, align_shoulders
        self.unit = unit

    def change(self, joints: np.ndarray) -> np.ndarray:
        """(1, M, T, K, 3) -> (1, M, frames with the first person, K, 3)."""
        persons = _most_seen_first(joints[0])
        if not persons.shape[1]:
            return joints
        found = present(persons)[..., None]
        if self.align_centre:
            persons = (persons - persons[0, 0, self.layout.origin]) * found
        if self.align_spine:
            lower, upper = self.spine
            persons = persons @ turn(persons[0, 0, upper] - persons[0, 0, lower], (0, 0, 1)).T
        if self.align_shoulders:
            right, left = self.shoulders
            persons = persons @ turn(persons[0, 0, right] - persons[0, 0, left], (1, 0, 0)).T
        if self.unit:
            lower, upper = self.spine
            length = np.linalg.norm(persons[0, :, upper] - persons[0, :, lower], axis=-1).mean()
            persons = persons / max(float(length), 1e-6)
        return persons[None]


def _most_seen_first(persons: np.ndarray) -> np.ndarray:
    """Persons (M, T, K, C) with the one seen longest first, in the frames with them."""
    seen = np.asarray(np.any(np.abs(persons) > 1e-8, axis=(2, 3)))  # (M, T)
    first = int(seen.sum(axis=1).argmax())
    if first:
        order = [first, *(i for i in range(len(persons)) if i != first)]
        persons, seen = persons[order], seen[order]
    return persons if seen[0].all() else persons[:, seen[0]]


def turn(start: np.ndarray, end: tuple[float, float, float]) -> np.ndarray:
    """(3, 3) the smallest rotation of the direction ``start`` into ``end``.

    The identity where one of them has no length, or where they are opposite and the axis isn't known.
    """
    goal, length = np.asarray(end, np.float32), float(np.linalg.norm(start))
    if length < 1e-6:
        return np.eye(3, dtype=np.float32)
    axis = np.cross(start / length, goal)
    if np.abs(axis).sum() < 1e-6:
        return np.eye(3, dtype=np.float32)
    x, y, z = axis
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], np.float32)
    return np.eye(3, dtype=np.float32) + across + across @ across / (1 + start @ goal / length)
