"""COCO-WholeBody: body, feet, face and hands (Jin et al., Whole-Body Human Pose Estimation, ECCV 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omma.errors import DataError
from omma.registry import register
from omma_pose.datasets.coco import CocoKeypoints
from omma_pose.datasets.keypoint_reader import KeypointReader

PARTS = {"foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
"""Further lists of an annotation, and how many key points each has."""


@register
class CocoWholeBody(CocoKeypoints):
    """Images and a COCO-WholeBody file: COCO's form, with four further lists of key points.

    Args:
        annotations, images, root, classes, skeleton, boxes, box_threshold, transforms: as ``CocoKeypoints``;
            name the skeleton ``coco_wholebody``.

    Raises:
        DataError: as ``CocoKeypoints``.
    """

    def reader(self, path: Path) -> KeypointReader:
        """What reads the file."""
        return _Reader(path)


class _Reader(KeypointReader):
    """As COCO's, with the lists behind each other."""

    def keypoints(self, record: Any, where: str) -> Sequence[float]:
        values = list(super().keypoints(record, where))
        for part, count in PARTS.items():
            own = record.get(part, [0] * 3 * count)
            if not isinstance(own, list) or len(own) != 3 * count:
                found = f"{len(own)} numbers" if isinstance(own, list) else f"{own!r:.80}"
                raise DataError(f"{where}: expected {count} x [x, y, visibility] in '{part}', got {found}")
            values += own
        return values
