"""Pascal VOC average precision (Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2010)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from omma.metrics import Curves, Metric, MetricReport
from omma.registry import register
from omma.structures import Prediction, Target
from omma_detection.metrics.findings import confusion, count_table, overlaps, worst_images
from omma_detection.metrics.records import Record, check_labels, complaint, make_record


@dataclass(frozen=True)
class PrecisionRecall:
    """One class's predictions by falling score, difficult ones left out."""

    recall: np.ndarray  # (P,)
    precision: np.ndarray  # (P,)
    ap: float

    @property
    def reached(self) -> float:
        """Recall of all predictions together; NaN without ground truth."""
        return float("nan") if np.isnan(self.ap) else float(self.recall.max(initial=0.0))


@register
class VocMetric(Metric):
    """Mean over classes of average precision at one IoU: ``voc/mAP50``.

    A prediction belongs to the object of its class that it overlaps most. It is right if the overlap
    reaches ``iou`` and no higher score has taken the object, ignored if the object is difficult, wrong
    otherwise. Without ground truth the number is NaN.

    Args:
        iou: smallest overlap of a right prediction, in (0, 1].
        interpolation: ``area`` under the monotone precision curve (VOC 2010 and later), or ``11point``, the
            mean at recalls 0, 0.1, ..., 1 (VOC 2007).
        score_threshold: predictions from this score on count in the confusion matrix and the worst images.

    Raises:
        ValueError: ``iou`` out of range.
    """

    records: dict[int, Record]
    challenge = "VOC"
    """Whose rules these are; the number is called after it."""

    def __init__(
        self,
        *,
        iou: float = 0.5,
        interpolation: Literal["area", "11point"] = "area",
        score_threshold: float = 0.3,
    ) -> None:
        super().__init__()
        if not 0 < iou <= 1:
            raise ValueError(f"iou: expected a number in (0, 1], got {iou}")
        self.iou = iou
        self.interpolation = interpolation
        self.score_threshold = score_threshold

    @property
    def name(self) -> str:
        """What the number is called, without ``voc/``."""
        return f"mAP{round(100 * self.iou)}"

    def record(self, prediction: Prediction, target: Target) -> Record:
        """Boxes, scores and labels.

        Raises:
            DataError: a number isn't finite.
        """
        return make_record(prediction, target)

    def compute(self) -> dict[str, float]:
        """The number by name. Warns where it can't mean anything.

        Raises:
            DataError: a label that names no class.
        """
        check_labels(self.records, self.info.classes)
        if reason := complaint(self.records, self.info.classes):
            warnings.warn(reason, stacklevel=2)
        measured = [curve.ap for curve in self._curves() if not np.isnan(curve.ap)]
        return {
            f"{self.challenge.lower()}/{self.name}": float(np.mean(measured)) if measured else float("nan")
        }

    def report(self) -> MetricReport:
        """Per-class table, precision-recall curves, confusion matrix and worst images."""
        curves, classes = self._curves(), self.info.classes
        columns = {
            self.name.removeprefix("m"): [curve.ap for curve in curves],
            "recall": [curve.reached for curve in curves],
        }
        lines = {
            name: (curve.recall.tolist(), curve.precision.tolist())
            for name, curve in zip(classes, curves)
            if not np.isnan(curve.ap)
        }
        title = f"Precision over recall at IoU {self.iou:g}"
        return MetricReport(
            tables=[count_table(f"Classes ({self.challenge})", self.records, classes, columns)],
            curves=[Curves(title, "recall", "precision", lines, x_range=(0.0, 1.0), y_range=(0.0, 1.0))],
            matrices=[confusion(self.records, classes, self.score_threshold)],
            rankings=[worst_images(self.records, classes, self.score_threshold)],
        )

    def _curves(self) -> list[PrecisionRecall]:
        """One per class."""
        records = [self.records[position] for position in sorted(self.records)]
        parts = [_match(record) for record in records]
        objects = np.cumsum([0, *(len(record.true_boxes) for record in records)])
        best = np.concatenate([np.zeros(0), *(overlap for overlap, _ in parts)])
        owner = np.concatenate(
            [np.zeros(0, np.int64), *(place + start for (_, place), start in zip(parts, objects))]
        )
        scores = np.concatenate([np.zeros(0), *(record.scores for record in records)])
        labels = np.concatenate([np.zeros(0, np.int64), *(record.labels for record in records)])
        difficult = np.concatenate([np.zeros(0, bool), *(record.crowd for record in records)])
        true_labels = np.concatenate([np.zeros(0, np.int64), *(record.true_labels for record in records)])
        curves = []
        for label in range(len(self.info.classes)):
            chosen = np.flatnonzero(labels == label)
            chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
            total = int(((true_labels == label) & ~difficult).sum())
            curves.append(self._curve(best[chosen] >= self.iou, owner[chosen], difficult, total))
        return curves

    def _curve(
        self, hit: np.ndarray, owner: np.ndarray, difficult: np.ndarray, total: int
    ) -> PrecisionRecall:
        # The first of the hits of an object is right, the others repeat it.
        right = np.zeros(len(hit), dtype=bool)
        hits = np.flatnonzero(hit)
        right[hits[np.unique(owner[hits], return_index=True)[1]]] = True
        counted = np.ones(len(hit), dtype=bool)
        counted[hits] = ~difficult[owner[hits]]
        right = right[counted]
        if not total:
            return PrecisionRecall(np.zeros(0), np.zeros(0), float("nan"))
        recall = np.cumsum(right) / total
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        return PrecisionRecall(recall, precision, self._average(recall, precision))

    def _average(self, recall: np.ndarray, precision: np.ndarray) -> float:
        if self.interpolation == "area" or not len(recall):
            return area_under(recall, precision)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        # Not linspace: a recall of 3 / 10 reaches 0.3, and linspace has 0.30000000000000004.
        places = np.searchsorted(recall, np.arange(11) / 10, side="left")
        return float(np.append(envelope, 0.0)[places].mean())


def area_under(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under (P,) precision over rising recall, where each recall has the best precision from it on."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _match(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Per prediction: the largest overlap with an object of its class, and that object's index."""
    if not len(record.true_boxes):
        return np.zeros(len(record.boxes)), np.zeros(len(record.boxes), dtype=np.int64)
    iou = overlaps(record.boxes, record.true_boxes)
    iou[record.labels[:, None] != record.true_labels[None]] = 0
    place = iou.argmax(axis=1)
    return iou[np.arange(len(iou)), place], place
