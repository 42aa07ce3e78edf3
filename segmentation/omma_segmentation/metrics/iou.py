"""Intersection over union of classes, and its kin, from one table of confusions."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from torch import Tensor

from omma.metrics import Matrix, Metric, MetricReport, Ranking, Table, mean_of_known
from omma.registry import register
from omma.structures import Prediction, Target

_EXACT = 2**24
"""Counts up to this are exact in the float32 histograms of OpenCV."""


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(C, C) int64 pixels of each true class (rows) by predicted class; ignored pixels don't count.

    Args:
        labels: (H, W) uint8, IGNORED where a pixel doesn't count.
        predicted: (H, W) uint8.
        classes: C, fewer than 255.

    Raises:
        ValueError: the two maps differ in size.
    """
    if labels.shape != predicted.shape:
        raise ValueError(f"expected maps of one size, got {labels.shape} and {predicted.shape}")
    total = np.zeros((classes, classes), np.int64)
    rows = max(1, _EXACT // max(labels.shape[1], 1))
    for top in range(0, len(labels), rows):
        pair = [np.ascontiguousarray(x[top : top + rows]) for x in (labels, predicted)]
        # Numbers from the number of classes on fall outside of the histogram, IGNORED among them.
        counts = cv2.calcHist(pair, [0, 1], None, [classes, classes], [0, classes, 0, classes])  # pyright: ignore[reportCallIssue, reportArgumentType]
        total += counts.astype(np.int64)
    return total


@register
class SegmentationMetric(Metric):
    """``mIoU``, ``mAcc``, ``mDice``, ``mFscore`` (means over classes that occur) and ``aAcc`` (all pixels).

    IoU of a class is TP / (TP + FP + FN) over the pixels of all images; accuracy is recall, TP / (TP + FN).
    Classes that are neither there nor predicted have no IoU, and those that aren't there no accuracy; means
    leave them out.

    Args:
        beta: weight of recall against precision in the F-score.

    Raises:
        ValueError: ``beta`` isn't positive.
    """

    def __init__(self, *, beta: float = 1.0) -> None:
        super().__init__()
        if beta <= 0:
            raise ValueError(f"beta must be positive, got {beta}")
        self.beta = beta

    def record(self, prediction: Prediction, target: Target) -> tuple[np.ndarray, np.ndarray]:
        """Places and numbers of the confusions that occurred in one image."""
        counts = confusion(
            as_array(target["semantic"]), as_array(prediction["semantic"]), len(self.info.classes)
        )
        places = np.flatnonzero(counts)
        return places.astype(np.int32), counts.flat[places]

    def compute(self) -> dict[str, float]:
        """The means; NaN without a labelled pixel."""
        total = self._total()
        scores = self._scores(total)
        means = {key: mean_of_known(scores[name]) for key, name in _MEANS.items()}
        return {**means, "aAcc": ratio(np.trace(total), total.sum())}

    def report(self) -> MetricReport:
        """Scores of each class, confusions, and the images with the lowest mean IoU."""
        total = self._total()
        scores = self._scores(total)
        names = list(self.info.classes)
        rows: list[list[str | float | int]] = [
            [name, *(float(scores[key][i]) for key in scores), int(total[i].sum())]
            for i, name in enumerate(names)
        ]
        tables = [Table("classes", ["class", *scores, "pixels"], rows)]
        shares = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
        matrix = Matrix(
            "confusions, share of the true class", "true", "predicted", names, names, shares.tolist()
        )
        entries = sorted(
            ((index, 1 - iou, f"mean IoU {iou:.3f}") for index, iou in self._image_ious()),
            key=lambda entry: -entry[1],
        )
        return MetricReport(
            tables=tables, matrices=[matrix], rankings=[Ranking("lowest mean IoU", entries[:100])]
        )

    def _total(self) -> np.ndarray:
        classes = len(self.info.classes)
        total = np.zeros(classes * classes, np.int64)
        for places, counts in self.records.values():
            total[places] += counts
        return total.reshape(classes, classes)

    def _scores(self, total: np.ndarray) -> dict[str, np.ndarray]:
        right, there, found = np.diag(total), total.sum(axis=1), total.sum(axis=0)
        recall, precision = ratio(right, there), ratio(right, found)
        squared = self.beta**2
        with np.errstate(invalid="ignore", divide="ignore"):
            f_score = (1 + squared) * precision * recall / (squared * precision + recall)
        return {
            "IoU": ratio(right, there + found - right),
            "accuracy": recall,
            "Dice": ratio(2 * right, there + found),
            "F-score": np.where((right == 0) & (there + found > 0), 0.0, f_score),
            "precision": precision,
        }

    def _image_ious(self) -> list[tuple[int, float]]:
        """Mean IoU over the classes of each image that has labelled pixels."""
        classes = len(self.info.classes)
        found: list[tuple[int, float]] = []
        for index, (places, counts) in self.records.items():
            one = np.zeros(classes * classes, np.int64)
            one[places] = counts
            iou = mean_of_known(self._scores(one.reshape(classes, classes))["IoU"])
            if not np.isnan(iou):
                found.append((index, iou))
        return found


_MEANS = {"mIoU": "IoU", "mAcc": "accuracy", "mDice": "Dice", "mFscore": "F-score"}


def as_array(semantic: Tensor) -> np.ndarray:
    """A map of classes for OpenCV."""
    return np.ascontiguousarray(semantic.cpu().numpy())


def ratio(a: Any, b: Any) -> Any:
    """``a / b``, NaN where both are zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.true_divide(a, b)
