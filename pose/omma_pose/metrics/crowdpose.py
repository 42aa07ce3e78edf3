"""CrowdPose's average precision by how crowded images are (Li et al., CVPR 2019)."""

from __future__ import annotations

import math

import numpy as np

from omma.errors import DataError
from omma.registry import register
from omma_pose.metrics.coco import CocoKeypointMetric, numbers_of
from omma_pose.metrics.pool import Pool

CROWDED = {"easy": (0.0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, math.inf)}
"""Crowd indices of the images that are judged apart, the lower end included. The first border is that of
CrowdPose's own evaluation; its paper says 0.1."""


@register
class CrowdPoseMetric(CocoKeypointMetric):
    """COCO's numbers, and ``keypoint/AP_easy``, ``AP_medium`` and ``AP_hard`` of images with few, more and
    many people who hide each other, by the crowd index that ``CrowdPose`` reads.

    Args:
        scoring, keypoint_threshold, suppression, suppression_threshold: as ``CocoKeypointMetric``.

    Raises:
        ValueError: as ``CocoKeypointMetric``.
    """

    @property
    def names(self) -> list[str]:
        """What the numbers are called."""
        return [*super().names, *(f"AP_{name}" for name in CROWDED)]

    def judge(self, pool: Pool) -> dict[str, float]:
        """The numbers of all images, and of those that are crowded alike.

        Raises:
            DataError: an image has no crowd index.
        """
        values = super().judge(pool)
        indices = {record.id: record.crowd_index for record in self.records.values()}
        if (unknown := next((id for id, index in indices.items() if index is None), None)) is not None:
            raise DataError(
                f"image {unknown!r} has no crowd index; read the data by CrowdPose, or measure it by "
                "CocoKeypointMetric"
            )
        crowded = np.array([indices[id] for id in self.images()], np.float64)
        for name, (low, high) in CROWDED.items():
            images = np.flatnonzero((crowded >= low) & (crowded < high))
            found = pool.of_images(images).precision(len(self.info.classes))
            values[f"AP_{name}"] = numbers_of(found)["AP"]
        return values
