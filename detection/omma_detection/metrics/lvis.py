"""LVIS average precision, where not all classes are annotated in all images (Gupta et al., LVIS, 2019)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from omma.errors import DataError
from omma.metrics import MetricReport, Table
from omma.ops import encode_masks
from omma.ops.masks import coco_mask
from omma.registry import register
from omma.structures import Prediction, Target
from omma_detection.metrics.coco import CocoMetric
from omma_detection.metrics.coco_api import Backend, Evaluation, Kind, evaluate
from omma_detection.metrics.records import Record, make_record


@register
class LvisMetric(CocoMetric):
    """COCO's precision on federated annotations: ``box/AP``, ..., ``box/APr``, ``APc``, ``APf``, ``AR300``.

    In an image only those classes are judged that are there or were looked for in vain; where not all objects
    of a class are annotated, predictions that match none of them don't count. The best predictions of an
    image, whatever their classes, take part. r, c and f are classes that are rare, common and frequent in
    training.

    Args:
        kinds: whether boxes, masks or both are judged.
        max_detections: of an image.
        backend: ``faster`` (faster-coco-eval) or its referee ``pycocotools``: the same numbers, slower.

    Raises:
        ValueError: no kind, or a limit below 1.
    """

    def __init__(
        self,
        *,
        kinds: tuple[Kind, ...] = ("box", "mask"),
        max_detections: int = 300,
        backend: Backend = "faster",
    ) -> None:
        super().__init__(kinds=kinds, max_detections=(max_detections,), backend=backend)

    def record(self, prediction: Prediction, target: Target) -> Record:
        """What may count of an image.

        Raises:
            DataError: masks are asked for and missing, a number isn't finite, or the data set doesn't say
                which classes were looked for.
        """
        limit = self.max_detections[0]
        record = make_record(prediction, target, masks="mask" in self.kinds, limit=limit)
        if record.absent is None:
            raise DataError(
                f"{record.path}: LVIS needs to know which classes were looked for in an image, and the data "
                "set doesn't say; take LvisDetection, or CocoMetric"
            )
        # What isn't judged isn't kept.
        judged = np.isin(record.labels, np.append(record.absent, record.true_labels))
        return _chosen(record, judged)

    def report(self) -> MetricReport:
        """Tables of the groups and of the classes, for each kind.

        Which predictions are confused can't be told where most classes aren't annotated.
        """
        report = MetricReport()
        for kind in self.kinds:
            result = self._found.get(kind) or self._evaluate(kind)
            report.tables += [self._group_table(kind, result), self._class_table(kind, result)]
        return report

    def _evaluate(self, kind: Kind) -> Evaluation:
        return evaluate(
            [_forgiving(record, kind) for record in self.records.values()],
            self.info.classes,
            kind=kind,
            limits=self.max_detections,
            backend=self.backend,
        )

    def _numbers(self, kind: Kind, result: Evaluation) -> dict[str, float]:
        numbers = super()._numbers(kind, result)
        of_groups = {
            f"{kind}/AP{name}": result.ap(labels=labels) for name, labels in self.info.groups.items()
        }
        return {**numbers, **of_groups}

    def _group_table(self, kind: Kind, result: Evaluation) -> Table:
        names = {"r": "rare", "c": "common", "f": "frequent"}
        rows: list[list[str | float | int]] = [
            [names.get(group, group), result.ap(labels=labels), result.ap(iou=0, labels=labels), len(labels)]
            for group, labels in self.info.groups.items()
        ]
        return Table(f"Groups of classes ({kind})", ["group", "AP", "AP50", "classes"], rows)


def _chosen(record: Record, keep: np.ndarray) -> Record:
    """The record with only the predictions of a (N,) bool mask."""
    masks = None if record.masks is None else [m for m, kept in zip(record.masks, keep) if kept]
    return replace(
        record,
        boxes=record.boxes[keep],
        scores=record.scores[keep],
        labels=record.labels[keep],
        masks=masks,
    )


def _forgiving(record: Record, kind: Kind) -> Record:
    """The record with a crowd all over the image for each class of which not all objects are annotated.

    COCO's evaluators let a prediction match a crowd, by the share of it that lies inside, only where no
    object is left for it, and count it neither way then: just what LVIS asks for.
    """
    partial = np.unique(record.partial if record.partial is not None else ())
    if not len(partial):
        return record
    # A prediction without area has no share of it anywhere, and would be held against the model.
    sides = record.boxes[:, 2:] - record.boxes[:, :2]
    some = sides.min(axis=1) > 0 if kind == "box" else _mask_areas(record) > 0
    record = _chosen(record, some | ~np.isin(record.labels, partial))
    # Predictions may reach over the edge of the image.
    all_over = np.concatenate([np.zeros((1, 4)), record.boxes, [[0, 0, record.width, record.height]]])
    crowd = np.concatenate([all_over[:, :2].min(axis=0), all_over[:, 2:].max(axis=0)])
    count = len(partial)
    return replace(
        record,
        true_boxes=np.concatenate([record.true_boxes, np.tile(crowd, (count, 1))]),
        true_labels=np.concatenate([record.true_labels, partial.astype(np.int64)]),
        crowd=np.concatenate([record.crowd, np.ones(count, dtype=bool)]),
        area=np.concatenate([record.area, np.full(count, np.prod(crowd[2:] - crowd[:2]))]),
        true_masks=None if record.true_masks is None else record.true_masks + [_whole(record)] * count,
    )


def _mask_areas(record: Record) -> np.ndarray:
    return np.array([coco_mask().area(mask) for mask in record.masks or ()], dtype=np.float64)


def _whole(record: Record) -> dict[str, Any]:
    return encode_masks(torch.ones(1, record.height, record.width, dtype=torch.bool))[0]
