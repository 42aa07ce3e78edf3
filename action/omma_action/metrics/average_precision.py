"""Mean average precision of clips with several classes each."""

from __future__ import annotations

import numpy as np

from omma.metrics import Metric, MetricReport, Table
from omma.registry import register
from omma.structures import Prediction, Target


@register
class MultiLabelMAP(Metric):
    """``mAP``: average precision of each class over all clips, averaged over the classes that occur;
    ``mAP/clips``: of each clip over all classes, averaged over the clips that have any.

    Precision is averaged over the steps of recall, without interpolation; equal scores are one step.
    """

    records: dict[int, tuple[np.ndarray, np.ndarray]]
    """(C,) float32 scores and (C,) bool classes of each clip."""

    def record(self, prediction: Prediction, target: Target) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the clip, and its classes."""
        scores = prediction["class_scores"].float().numpy()
        there = np.zeros(len(scores), bool)
        there[target["labels"].numpy()] = True
        return scores, there

    def compute(self) -> dict[str, float]:
        """The means; NaN where nothing has a class."""
        scores, there = self._tables()
        clips = [average_precision(*pair) for pair in zip(scores, there)]
        return {"mAP": _mean(self._classes(scores, there)), "mAP/clips": _mean(np.array(clips))}

    def report(self) -> MetricReport:
        """Average precision of each class."""
        scores, there = self._tables()
        counts, values = there.sum(axis=0).tolist(), self._classes(scores, there).tolist()
        rows: list[list[str | float | int]] = [
            [name, value, count] for name, value, count in zip(self.info.classes, values, counts)
        ]
        return MetricReport(tables=[Table("classes", ["class", "AP", "clips"], rows)])

    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        shape = (len(self.records), len(self.info.classes))
        scores = np.array([scores for scores, _ in self.records.values()]).reshape(shape)
        return scores, np.array([there for _, there in self.records.values()], bool).reshape(shape)

    def _classes(self, scores: np.ndarray, there: np.ndarray) -> np.ndarray:
        return np.array([average_precision(*pair) for pair in zip(scores.T, there.T)])


def average_precision(scores: np.ndarray, there: np.ndarray) -> float:
    """Sum over thresholds of precision x gain of recall; NaN without a positive.

    Args:
        scores: (N,) of any range; those that are no numbers come last.
        there: (N,) bool.
    """
    if not there.any():
        return float("nan")
    falling = np.where(np.isnan(scores), np.inf, -scores.astype(np.float64))
    order = np.argsort(falling, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(falling[order]) != 0, True))  # the last of each equal score
    hits = np.cumsum(there[order])[ends]
    precision, recall = hits / (ends + 1), hits / there.sum()
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
