"""IoU near the contours of classes, which says how well their shapes are drawn."""

from __future__ import annotations

import math

import cv2
import numpy as np

from omma.metrics import Metric, MetricReport, Table, mean_of_known
from omma.registry import register
from omma.structures import IGNORED, Prediction, Target
from omma_segmentation.metrics.iou import as_array, ratio

Counts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(C,) int64 pixels near the contours of each class: in both maps, in the true one, in the predicted one."""


@register
class BoundaryIoU(Metric):
    """``mBoundaryIoU``: IoU of the pixels near each class's contours (Cheng et al., Boundary IoU, CVPR 2021).

    A pixel is near if one of another class, or the image's border, is at most so many pixels from it,
    diagonals counting as one. A class's IoU is over those pixels of all images; the mean leaves out classes
    that are neither there nor predicted. Ignored pixels count in neither map and bound the classes of both.

    Args:
        dilation_ratio: what is near, as a share of the image's diagonal; at least one pixel.

    Raises:
        ValueError: the ratio isn't between 0 and 1.
    """

    def __init__(self, *, dilation_ratio: float = 0.02) -> None:
        super().__init__()
        if not 0 < dilation_ratio < 1:
            raise ValueError(f"dilation_ratio must be a share in 0..1, got {dilation_ratio}")
        self.dilation_ratio = dilation_ratio

    def record(self, prediction: Prediction, target: Target) -> Counts:
        """The counts of one image."""
        labels, predicted = as_array(target["semantic"]), as_array(prediction["semantic"])
        return boundary_counts(labels, predicted, len(self.info.classes), self.dilation_ratio)

    def compute(self) -> dict[str, float]:
        """The mean; NaN without a labelled pixel."""
        return {"mBoundaryIoU": mean_of_known(self._ious())}

    def report(self) -> MetricReport:
        """The number of each class."""
        rows: list[list[str | float | int]] = [
            [name, float(iou)] for name, iou in zip(self.info.classes, self._ious(), strict=True)
        ]
        return MetricReport(tables=[Table("near contours", ["class", "boundary IoU"], rows)])

    def _ious(self) -> np.ndarray:
        empty = np.zeros(len(self.info.classes), np.int64)
        both, there, found = (
            sum((counts[i] for counts in self.records.values()), start=empty) for i in range(3)
        )
        return ratio(both, there + found - both)


def boundary_counts(labels: np.ndarray, predicted: np.ndarray, classes: int, dilation_ratio: float) -> Counts:
    """What ``BoundaryIoU`` keeps of an image.

    Args:
        labels: (H, W) uint8, IGNORED where a pixel doesn't count.
        predicted: (H, W) uint8.
        classes: C.
        dilation_ratio: see ``BoundaryIoU``.

    Raises:
        ValueError: the two maps differ in size.
    """
    if labels.shape != predicted.shape:
        raise ValueError(f"expected maps of one size, got {labels.shape} and {predicted.shape}")
    distance = max(1, round(dilation_ratio * math.hypot(*labels.shape)))
    predicted = np.where(labels == IGNORED, np.uint8(IGNORED), predicted)
    near = [_near_contours(semantic, distance) for semantic in (labels, predicted)]
    pixels = (labels[near[0] & near[1] & (labels == predicted)], labels[near[0]], predicted[near[1]])
    both, there, found = (np.bincount(part, minlength=256)[:classes] for part in pixels)
    return both, there, found


def _near_contours(semantic: np.ndarray, distance: int) -> np.ndarray:
    """(H, W) bool: whether there is another class, or the border, within ``distance`` of a pixel."""
    square = np.ones((3, 3), np.uint8)
    edge = cv2.erode(semantic, square) != cv2.dilate(semantic, square)
    edge[0], edge[-1], edge[:, 0], edge[:, -1] = True, True, True, True
    # A pixel at an edge has another class, or the border, beside it: one step further.
    return cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_C, 3) < distance
