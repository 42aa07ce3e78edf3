"""Average precision of the Open Images Challenge (Kuznetsova et al., IJCV 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from omma.registry import register
from omma_detection.metrics.findings import overlaps
from omma_detection.metrics.records import Record
from omma_detection.metrics.voc import PrecisionRecall, VocMetric, area_under

_Outcomes = tuple[np.ndarray, np.ndarray]
"""(P,) scores and whether each of them is right."""


@register
class OpenImagesMetric(VocMetric):
    """Mean over classes of average precision at one IoU: ``openimages/mAP50``.

    It differs from VOC's in three things. In an image only those classes are judged that have a box there or
    were verified; where the data set doesn't say, all are. An object belongs to all wider classes of its own
    too. A group of objects under one box counts as one: predictions of which the share ``iou`` lies inside
    it, and that stand for no object of their own, are together one right prediction of the highest score.

    Args:
        iou: smallest overlap of a right prediction, and smallest share inside a group, in (0, 1].
        expand: predictions count for all wider classes too; otherwise the model has to predict these.
        score_threshold: predictions from this score on count in the confusion matrix and the worst images.

    Raises:
        ValueError: ``iou`` out of range.
    """

    challenge = "OpenImages"

    def __init__(self, *, iou: float = 0.5, expand: bool = True, score_threshold: float = 0.3) -> None:
        super().__init__(iou=iou, score_threshold=score_threshold)
        self.expand = expand

    def _curves(self) -> list[PrecisionRecall]:
        """One per class."""
        count = len(self.info.classes)
        outcomes: list[list[_Outcomes]] = [[] for _ in range(count)]
        objects = np.zeros(count, dtype=np.int64)
        for position in sorted(self.records):
            record = self.records[position]
            there, labels = _expanded(record.true_labels, self.info.ancestors)
            objects += np.bincount(labels, minlength=count)
            found, guesses = _expanded(record.labels, self.info.ancestors if self.expand else {})
            for label in self._judged(record, labels):
                own, true = found[guesses == label], there[labels == label]
                outcomes[label].append(_outcomes(record, own, true, self.iou))
        return [_curve(parts, int(total)) for parts, total in zip(outcomes, objects)]

    def _judged(self, record: Record, labels: np.ndarray) -> list[int]:
        if record.absent is None:
            return list(range(len(self.info.classes)))
        return np.union1d(labels, record.absent).tolist()


def _expanded(labels: np.ndarray, ancestors: Mapping[int, tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (M,) and labels (M,) of the elements of ``labels`` and of their wider classes."""
    places, reached = [np.arange(len(labels))], [labels]
    for label in np.unique(labels).tolist():
        of_label = np.flatnonzero(labels == label)
        for other in ancestors.get(label, ()):
            places.append(of_label)
            reached.append(np.full(len(of_label), other))
    order = np.argsort(np.concatenate(places), kind="stable")
    return np.concatenate(places)[order], np.concatenate(reached)[order].astype(np.int64)


def _outcomes(record: Record, found: np.ndarray, true: np.ndarray, threshold: float) -> _Outcomes:
    """Of one class in one image: ``found`` and ``true`` are positions, predictions by falling score."""
    boxes, scores = record.boxes[found], record.scores[found]
    singles, groups = true[~record.crowd[true]], true[record.crowd[true]]
    right = _first_hits(overlaps(boxes, record.true_boxes[singles]), threshold)
    counted = np.ones(len(found), dtype=bool)
    heads: list[int] = []
    if len(groups) and len(found):
        share = overlaps(boxes, record.true_boxes[groups], np.ones(len(groups), dtype=bool))
        inside = ~right & (share.max(axis=1) >= threshold)
        counted = ~inside
        owner = share.argmax(axis=1)[inside]
        heads = np.flatnonzero(inside)[np.unique(owner, return_index=True)[1]].tolist()
    return (
        np.concatenate([scores[counted], scores[heads]]),
        np.concatenate([right[counted], np.ones(len(heads), dtype=bool)]),
    )


def _first_hits(iou: np.ndarray, threshold: float) -> np.ndarray:
    """(N,) bool: predictions that are the first to hit the object they overlap most, given (N, M) IoU."""
    right = np.zeros(len(iou), dtype=bool)
    if iou.size:
        hits = np.flatnonzero(iou.max(axis=1) >= threshold)
        right[hits[np.unique(iou.argmax(axis=1)[hits], return_index=True)[1]]] = True
    return right


def _curve(parts: list[_Outcomes], total: int) -> PrecisionRecall:
    if not total:
        return PrecisionRecall(np.zeros(0), np.zeros(0), float("nan"))
    scores = np.concatenate([scores for scores, _ in parts])
    right = np.concatenate([right for _, right in parts])[np.argsort(-scores, kind="stable")]
    recall = np.cumsum(right) / total
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return PrecisionRecall(recall, precision, area_under(recall, precision))
