"""CrowdPose (Li et al., Efficient Crowded Scenes Pose Estimation and a New Benchmark, CVPR 2019)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from omma.errors import DataError
from omma.registry import register
from omma.structures import Target
from omma_pose.datasets.coco import CocoKeypoints
from omma_pose.datasets.keypoint_reader import KeypointReader


@register
class CrowdPose(CocoKeypoints):
    """COCO's form, with a ``crowdIndex`` in 0..1 for each image, by which ``CrowdPoseMetric`` sorts them.

    Args:
        annotations, images, root, classes, skeleton, boxes, box_threshold, transforms: as ``CocoKeypoints``;
            name the skeleton ``crowdpose``.

    Raises:
        DataError: as ``CocoKeypoints``, or an image has no crowd index.
    """

    def reader(self, path: Path) -> KeypointReader:
        """What reads the file."""
        return _Reader(path)

    def keep(self, reader: Any) -> None:
        """Take the crowd indices."""
        self.crowd_indices = torch.tensor(reader.indices, dtype=torch.float64)

    def truth(self, source: int, index: int) -> Target:
        """As of other files, with how crowded the image is."""
        target = super().truth(source, index)
        target["crowd_index"] = float(self.crowd_indices[source])
        return target


class _Reader(KeypointReader):
    """As COCO's, with the crowd index of each image."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.indices: list[float] = []

    def image(self, number: int, record: Any) -> None:
        super().image(number, record)
        index = record.get("crowdIndex")
        if type(index) not in (int, float) or not (math.isfinite(index) and 0 <= index <= 1):
            raise DataError(
                f"{self.path}: images[{number}]: expected a number in 0..1 in 'crowdIndex', got "
                f"{index!r:.80}; files without it are read by CocoKeypoints"
            )
        self.indices.append(float(index))
