"""COCO's average precision of key points (Lin et al., Microsoft COCO, ECCV 2014)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np

from omma.errors import DataError
from omma.metrics import Curves, Metric, MetricReport, Ranking, Table, mean_of_known
from omma.ops.oks import oks_nms, soft_oks_nms
from omma.registry import register
from omma.structures import Prediction, Target
from omma_pose.metrics.oks import AREAS, RECALLS, Found, Objects, Precision, similarity
from omma_pose.metrics.pool import Pool
from omma_pose.metrics.records import Record, boxes_used, make_record

Scoring = Literal["box", "keypoints", "box_keypoints", "rle"]
Suppression = Literal["oks", "soft_oks"]


@register
class CocoKeypointMetric(Metric):
    """COCO's ten numbers: ``keypoint/AP``, ``AP50``, ``AP75``, ``APm``, ``APl``, and AR of each.

    AP is averaged over classes, over object key point similarities of .50:.05:.95 and 101 recall levels, with
    at most 20 predictions per image. m and l are objects under 96 x 96 pixels (and over 32 x 32), and larger
    ones. Crowds and objects without key points are neither right nor wrong. Whose boxes were looked at, the
    annotated ones or a detector's, stands in the report.

    Where the skeleton has parts, each is judged by its key points alone too, as COCO-WholeBody does for body,
    foot, face and hands (Jin et al., ECCV 2020): ``keypoint/AP_face``, ``AR_face``.

    Args:
        scoring: a prediction's score: that of its box, the mean of its key points' (those over
            ``keypoint_threshold``), their product, or, of regression with uncertainties, their sum with the
            best key point's.
        keypoint_threshold: key points under it don't count in the mean.
        suppression: how predictions that find the same object are dealt with; null: not at all.
        suppression_threshold: similarity from which on they find the same.

    Raises:
        ValueError: a threshold is out of its range.
    """

    records: dict[int, Record]

    def __init__(
        self,
        *,
        scoring: Scoring = "box_keypoints",
        keypoint_threshold: float = 0.2,
        suppression: Suppression | None = "oks",
        suppression_threshold: float = 0.9,
    ) -> None:
        super().__init__()
        if not 0 <= keypoint_threshold <= 1 or not 0 < suppression_threshold <= 1:
            raise ValueError(
                f"thresholds must be in 0..1, got {keypoint_threshold} and {suppression_threshold}"
            )
        self.scoring: Scoring = scoring
        self.keypoint_threshold = keypoint_threshold
        self.suppression: Suppression | None = suppression
        self.suppression_threshold = suppression_threshold
        self._found: list[Precision] = []

    def update(self, predictions: Sequence[Prediction], targets: Sequence[Target]) -> None:
        """Add a batch; what was computed before no longer holds."""
        self._found = []
        super().update(predictions, targets)

    def record(self, prediction: Prediction, target: Target) -> Record:
        """Predictions and annotations of one sample."""
        return make_record(prediction, target)

    def compute(self) -> dict[str, float]:
        """The numbers by name; NaN where there is no object.

        Raises:
            DataError: samples show boxes of different origins.
        """
        if not self.records:
            warnings.warn("no sample was evaluated, so nothing could be measured", stacklevel=2)
            return {f"keypoint/{name}": math.nan for name in self.names}
        boxes_used(self.records.values())
        values = self.judge(self.pool())
        return {f"keypoint/{name}": values[name] for name in self.names}

    @property
    def names(self) -> list[str]:
        """What the numbers are called."""
        parts = () if self.info.skeleton is None else self.info.skeleton.parts
        return [*numbers_of([]), *(f"{name}_{part}" for part in parts for name in ("AP", "AR"))]

    def judge(self, pool: Pool) -> dict[str, float]:
        """The numbers of all images."""
        classes = len(self.info.classes)
        self._found = pool.precision(classes)
        values = numbers_of(self._found)
        for name, places in (self.info.skeleton.places if self.info.skeleton else {}).items():
            of_part = numbers_of(pool.part(places).precision(classes))
            values |= {f"AP_{name}": of_part["AP"], f"AR_{name}": of_part["AR"]}
        return values

    def report(self) -> MetricReport:
        """The boxes that were used, scores of each class, precision over recall, and the worst samples."""
        if not self.records:
            return MetricReport()
        found = self._found or self.pool().precision(len(self.info.classes))
        title = f"Key points, {boxes_used(self.records.values())}"
        rows: list[list[str | float | int]] = [
            [name, *numbers_of([each]).values(), count]
            for name, each, count in zip(self.info.classes, found, self._counts())
        ]
        table = Table(title, ["class", *numbers_of([]), "objects"], rows)
        lines = {
            name: (RECALLS.tolist(), each.precision[0, 0].tolist())
            for name, each in zip(self.info.classes, found)
            if not np.isnan(each.precision[0, 0, 0])
        }
        curves = Curves(
            "Precision over recall at a similarity of 0.5", "recall", "precision", lines, (0, 1), (0, 1)
        )
        entries = sorted(self._badness(), key=lambda entry: -entry[1])[:100]
        return MetricReport(tables=[table], curves=[curves], rankings=[Ranking("Least similar", entries)])

    @property
    def sigmas(self) -> np.ndarray:
        """(K,) spreads of the data's skeleton.

        Raises:
            DataError: the data has none.
        """
        if self.info.skeleton is None:
            raise DataError("the data set has no skeleton, so key points can't be compared")
        return np.array(self.info.skeleton.spreads)

    def pool(self) -> Pool:
        """All that was annotated and predicted."""
        records = list(self.records.values())
        position = {id: i for i, id in enumerate(self.images())}
        first: dict[int, Record] = {}
        for record in records:
            first.setdefault(position[record.id], record)
        images = np.array(sorted(first))
        truths = [first[i] for i in images.tolist()]
        objects = Objects(
            np.repeat(images, [len(record.crowd) for record in truths]),
            _join([record.true_keypoints for record in truths]).astype(np.float64),
            _join([record.labelled for record in truths]),
            _join([record.true_boxes for record in truths]).astype(np.float64),
            _join([record.true_areas for record in truths]).astype(np.float64),
            _join([record.crowd for record in truths]),
        )
        found, found_labels = self._predictions(records, position)
        return Pool(
            objects, _join([record.true_labels for record in truths]), found, found_labels, self.sigmas
        )

    def images(self) -> list[int | str]:
        """Their ids, in the order in which they are numbered."""
        # Sorted as pycocotools sorts images, which decides between equal scores.
        ids = {record.id for record in self.records.values()}
        return sorted(ids, key=lambda id: (isinstance(id, str), id))

    def _predictions(self, records: list[Record], position: dict[int | str, int]) -> tuple[Found, np.ndarray]:
        """All predictions that are left after suppression, and their labels."""
        image = np.repeat([position[record.id] for record in records], [len(r.scores) for r in records])
        keypoints = _join([record.keypoints for record in records])
        labels = _join([record.labels for record in records])
        areas = _join([record.areas for record in records])
        scores = np.concatenate([self._scores(record) for record in records])
        if self.suppression is not None:
            kept, values = self._suppressed(image, labels, keypoints, scores, areas)
            image, keypoints, labels, scores = image[kept], keypoints[kept], labels[kept], values
        return Found(image, keypoints, scores), labels

    def _suppressed(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        keypoints: np.ndarray,
        scores: np.ndarray,
        areas: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions of what is kept, and its scores."""
        sigmas, threshold = self.sigmas, self.suppression_threshold
        order = np.lexsort((labels, image))
        places = np.stack([image[order], labels[order]])
        ends = np.flatnonzero((np.diff(places) != 0).any(axis=0)) + 1
        kept, values = [np.zeros(0, np.int64)], [np.zeros(0)]
        for group in np.split(order, ends):
            if len(group) < 2:
                kept.append(group)
                values.append(scores[group])
                continue
            parts = (keypoints[group], scores[group], areas[group], sigmas)
            if self.suppression == "soft_oks":
                chosen, new = soft_oks_nms(*parts, threshold=threshold)
            else:
                chosen = oks_nms(*parts, threshold=threshold)
                new = scores[group][chosen]
            kept.append(group[chosen])
            values.append(new)
        return np.concatenate(kept), np.concatenate(values)

    def _scores(self, record: Record) -> np.ndarray:
        """(N,) float64: what predictions are ranked by."""
        box, points = record.scores.astype(np.float64), record.keypoint_scores.astype(np.float64)
        if self.scoring == "box":
            return box
        if self.scoring == "rle":
            return box + points.mean(axis=1) + points.max(axis=1)
        counted = points > self.keypoint_threshold
        mean = np.where(counted, points, 0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
        return mean if self.scoring == "keypoints" else box * mean

    def _counts(self) -> list[int]:
        """Objects with key points of each class, in all images."""
        seen: dict[int | str, Record] = {record.id: record for record in self.records.values()}
        labels = _join([r.true_labels[r.labelled.any(axis=1) & ~r.crowd] for r in seen.values()])
        return np.bincount(labels, minlength=len(self.info.classes)).tolist()

    def _badness(self) -> list[tuple[int, float, str]]:
        """How unlike the object that it shows each sample's prediction is, where that is known."""
        shown = [(i, r) for i, r in self.records.items() if r.instance is not None and len(r.scores)]
        if not shown:
            return []
        own = [(r, r.instance) for _, r in shown]
        values = similarity(
            np.stack([r.keypoints[0] for r, _ in own]),
            np.stack([r.true_keypoints[k] for r, k in own]),
            np.stack([r.labelled[k] for r, k in own]),
            np.stack([r.true_boxes[k] for r, k in own]),
            np.stack([r.true_areas[k] for r, k in own]),
            self.sigmas,
        )
        return [(i, 1 - value, f"similarity {value:.3f}") for (i, _), value in zip(shown, values.tolist())]


def numbers_of(found: Sequence[Precision]) -> dict[str, float]:
    """The ten numbers, means over classes that have objects."""
    precision = np.stack([each.precision for each in found]) if found else np.full((1, 3, 10, 101), np.nan)
    recall = np.stack([each.recall for each in found]) if found else np.full((1, 3, 10), np.nan)
    values: dict[str, float] = {}
    for name, array in (("AP", precision), ("AR", recall)):
        values |= {name: mean_of_known(array[:, 0]), f"{name}50": mean_of_known(array[:, 0, 0])}
        values[f"{name}75"] = mean_of_known(array[:, 0, 5])
        values |= {f"{name}{size}": mean_of_known(array[:, a]) for a, size in enumerate(AREAS) if size}
    return values


def _join(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts)
