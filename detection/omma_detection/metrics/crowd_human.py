"""How well people in crowds are found, as CrowdHuman and its successors measure it (Shao et al., 2018)."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from omma.metrics import Curves, Metric, MetricReport
from omma.registry import register
from omma.structures import Prediction, Target
from omma_detection.metrics.findings import confusion, overlaps, worst_images
from omma_detection.metrics.records import Record, check_labels, complaint, make_record

_FALSE_PER_IMAGE = (0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1.0)
"""Where the miss rate is read: nine places evenly spaced by their logarithms (Dollar et al., PAMI 2012)."""
_JI_SCORES = np.arange(10) / 10


@register
class CrowdHumanMetric(Metric):
    """``crowd/AP``, ``crowd/MR`` and ``crowd/JI``, at one IoU, of a data set with one class.

    AP is the area under precision over recall, from the first prediction on. MR is the log-average miss rate
    over 0.01 to 1 false predictions per image (MR^-2): smaller is better. JI, the Jaccard index, matches as
    many predictions as possible with people, one to one; it is their number over that of predictions and
    people together, averaged over images, at the best of the score thresholds 0, 0.1, ..., 0.9 (Chu et al.,
    CVPR 2020). Predictions inside ignored regions count neither way.

    Boxes of both are cut at the edge of the image, so those of whole bodies may reach over it. Without
    anyone to find the numbers are NaN.

    Args:
        iou: overlap that a right prediction exceeds, in (0, 1).
        score_threshold: predictions from this score on count in the confusion matrix and the worst images.

    Raises:
        ValueError: ``iou`` out of range.
    """

    records: dict[int, Record]

    def __init__(self, *, iou: float = 0.5, score_threshold: float = 0.3) -> None:
        super().__init__()
        if not 0 < iou < 1:
            raise ValueError(f"iou: expected a number in (0, 1), got {iou}")
        self.iou = iou
        self.score_threshold = score_threshold

    def record(self, prediction: Prediction, target: Target) -> Record:
        """Boxes, cut, and scores.

        Raises:
            DataError: a number isn't finite.
        """
        record = make_record(prediction, target)
        size = (record.width, record.height)
        return replace(record, boxes=_cut(record.boxes, size), true_boxes=_cut(record.true_boxes, size))

    def compute(self) -> dict[str, float]:
        """The numbers by name. Warns where they can't mean anything.

        Raises:
            DataError: a label that names no class.
        """
        check_labels(self.records, self.info.classes)
        if reason := complaint(self.records, self.info.classes):
            warnings.warn(reason, stacklevel=2)
        people = sum(int((~record.crowd).sum()) for record in self.records.values())
        if not people:
            return dict.fromkeys(("crowd/AP", "crowd/MR", "crowd/JI"), float("nan"))
        right = self._right()
        return {
            "crowd/AP": _precision(right, people),
            "crowd/MR": _log_average(*_miss_rates(right, people, len(self.records))),
            "crowd/JI": max(self._jaccard(score) for score in _JI_SCORES),
        }

    def report(self) -> MetricReport:
        """Miss rate over false predictions per image, confusion matrix and worst images."""
        people = max(1, sum(int((~record.crowd).sum()) for record in self.records.values()))
        false, missed = _miss_rates(self._right(), people, max(1, len(self.records)))
        lines = {"person": (false.tolist(), missed.tolist())}
        return MetricReport(
            curves=[
                Curves(
                    f"Miss rate at IoU {self.iou:g}",
                    "false predictions per image",
                    "miss rate",
                    lines,
                    x_range=(0.0, 1.0),
                    y_range=(0.0, 1.0),
                )
            ],
            matrices=[confusion(self.records, self.info.classes, self.score_threshold)],
            rankings=[worst_images(self.records, self.info.classes, self.score_threshold)],
        )

    def _right(self) -> np.ndarray:
        """(P,) whether each prediction is right, by falling score; ignored ones left out."""
        parts = [_outcomes(self.records[i], self.iou) for i in sorted(self.records)]
        scores = np.concatenate([np.zeros(0), *(scores for scores, _ in parts)])
        right = np.concatenate([np.zeros(0, bool), *(right for _, right in parts)])
        return right[np.argsort(-scores, kind="stable")]

    def _jaccard(self, score: float) -> float:
        """Mean over the images that have a prediction from ``score`` on, or someone to find."""
        counts = [_shared(record, score, self.iou) for record in self.records.values()]
        ratios = [shared / union for shared, union in counts if union]
        return float(np.mean(ratios)) if ratios else 0.0


def _cut(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, 4) boxes inside an image of (W, H); those right of it or below become a part of its last pixel."""
    corners = boxes[:, :2].clip(0, np.array(size) - 1)
    return np.concatenate([corners, boxes[:, 2:].clip(0, size)], axis=1)


def _outcomes(record: Record, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the predictions of an image that count, and whether each is right."""
    people, regions = record.true_boxes[~record.crowd], record.true_boxes[record.crowd]
    iou, ignored = overlaps(record.boxes, people), _inside(record.boxes, regions, threshold)
    free = np.ones(len(people), dtype=bool)
    right = np.zeros(len(record.boxes), dtype=bool)
    for row, own in enumerate(iou):
        best = int(np.where(free, own, 0).argmax()) if len(people) else 0
        if len(people) and free[best] and own[best] > threshold:
            right[row], free[best] = True, False
    counted = right | ~ignored
    return record.scores[counted], right[counted]


def _shared(record: Record, score: float, threshold: float) -> tuple[int, int]:
    """Matched pairs of an image, and predictions and people together, a pair counted once."""
    boxes = record.boxes[record.scores > score]
    people, regions = record.true_boxes[~record.crowd], record.true_boxes[record.crowd]
    near = overlaps(boxes, people) >= threshold
    partner = np.full(len(boxes), -1)
    if near.size:
        partner = maximum_bipartite_matching(csr_matrix(near), perm_type="column")
    alone = np.ones(len(people), dtype=bool)
    alone[partner[partner >= 0]] = False
    shared = int((partner >= 0).sum())
    extra = int((~_inside(boxes[partner < 0], regions, threshold)).sum())
    missed = int((~_inside(people[alone], regions, threshold)).sum())
    return shared, shared + extra + missed


def _inside(boxes: np.ndarray, regions: np.ndarray, threshold: float) -> np.ndarray:
    """(N,) bool: boxes of which more than the share ``threshold`` lies in one region."""
    share = overlaps(boxes, regions, np.ones(len(regions), dtype=bool))
    return np.any(share > threshold, axis=1)


def _precision(right: np.ndarray, people: int) -> float:
    """Area under the line from point to point of precision over recall."""
    recall = np.cumsum(right) / people
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())


def _miss_rates(right: np.ndarray, people: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """False predictions per image and the share of people missed, prediction by prediction."""
    return np.cumsum(~right) / images, 1 - np.cumsum(right) / people


def _log_average(false: np.ndarray, missed: np.ndarray) -> float:
    """Geometric mean of the miss rates at nine numbers of false predictions, the last rate beyond its end."""
    if not len(missed):
        return 1.0
    places = np.searchsorted(false, _FALSE_PER_IMAGE, side="left").clip(max=len(false) - 1)
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(missed[places]).mean()))
