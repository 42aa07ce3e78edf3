"""Feeds records to the COCO evaluators; both give the same arrays."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from omma_detection.metrics.records import Record

Kind = Literal["box", "mask"]
Backend = Literal["faster", "pycocotools"]

AREAS = ("all", "s", "m", "l")
"""Area ranges of the A axis: all, and small, medium, large parted at 32 x 32 and 96 x 96 pixels."""
IOUS = np.linspace(0.5, 0.95, 10)
"""IoU thresholds of the T axis."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Recall thresholds of the R axis."""


@dataclass(frozen=True)
class Evaluation:
    """The evaluator's arrays; -1 where a class has no ground truth in an area range.

    Axes: T IoU thresholds, R recall thresholds, K classes, A area ranges, M limits of detections per image.
    """

    precision: np.ndarray  # (T, R, K, A, M)
    recall: np.ndarray  # (T, K, A, M)

    def ap(self, *, iou: int | None = None, area: int = 0, label: int | None = None) -> float:
        """Mean precision at IoU threshold number ``iou`` (all if None); NaN without ground truth."""
        values = self.precision[..., area, -1]
        values = values if iou is None else values[iou]
        return _mean(values if label is None else values[..., label])

    def ar(self, *, limit: int = -1, area: int = 0, label: int | None = None) -> float:
        """Mean of the highest recall over all IoU thresholds; NaN without ground truth."""
        values = self.recall[:, :, area, limit]
        return _mean(values if label is None else values[:, label])


def evaluate(
    records: Iterable[Record], classes: Sequence[str], *, kind: Kind, limits: Sequence[int], backend: Backend
) -> Evaluation:
    """Run a COCO evaluator over all records.

    Args:
        records: one for each image.
        classes: names of the K classes.
        kind: whether boxes or masks are compared.
        limits: M rising numbers of detections per image.
        backend: who computes.
    """
    # Equal scores rank by image id in the evaluators, so the numbers hang on the order of the ids.
    ordered = sorted(records, key=lambda record: (isinstance(record.id, str), record.id))
    if not ordered or not classes:
        shape = (len(RECALLS), len(classes), len(AREAS), len(limits))
        return Evaluation(np.full((len(IOUS), *shape), -1.0), np.full((len(IOUS), *shape[1:]), -1.0))
    if backend == "faster":
        from faster_coco_eval import COCO, COCOeval_faster as Evaluator
    else:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval as Evaluator

    head = {
        "images": [{"id": i, "height": r.height, "width": r.width} for i, r in enumerate(ordered)],
        "categories": [{"id": label, "name": name} for label, name in enumerate(classes)],
    }
    # Both evaluators print their progress.
    with contextlib.redirect_stdout(io.StringIO()):
        truth, results = COCO(), COCO()
        for api, annotations in ((truth, _truth(ordered, kind)), (results, _results(ordered, kind))):
            api.dataset = {**head, "annotations": annotations}
            api.createIndex()
        evaluator: Any = Evaluator(truth, results, "bbox" if kind == "box" else "segm")
        evaluator.params.maxDets = list(limits)
        evaluator.evaluate()
        evaluator.accumulate()
    return Evaluation(np.asarray(evaluator.eval["precision"]), np.asarray(evaluator.eval["recall"]))


def _truth(records: Sequence[Record], kind: Kind) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = []
    for image, record in enumerate(records):
        for i, (box, label, crowd, area) in enumerate(
            zip(_xywh(record.true_boxes), record.true_labels.tolist(), record.crowd.tolist(), record.area.tolist())
        ):
            annotation = {
                "id": len(annotations) + 1,  # the evaluators take id 0 for "not matched"
                "image_id": image,
                "category_id": label,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            if kind == "mask" and record.true_masks is not None:
                annotation["segmentation"] = record.true_masks[i]
            annotations.append(annotation)
    return annotations


def _results(records: Sequence[Record], kind: Kind) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for image, record in enumerate(records):
        areas = _areas(record, kind)
        for i, (box, label, score, area) in enumerate(
            zip(_xywh(record.boxes), record.labels.tolist(), record.scores.tolist(), areas)
        ):
            result = {
                "id": len(results) + 1,
                "image_id": image,
                "category_id": label,
                "bbox": box,
                "score": score,
                "area": area,
                "iscrowd": 0,
            }
            if kind == "mask" and record.masks is not None:
                result["segmentation"] = record.masks[i]
            results.append(result)
    return results


def _areas(record: Record, kind: Kind) -> list[float]:
    if kind == "box":
        sides = record.boxes[:, 2:].astype(np.float64) - record.boxes[:, :2]
        return sides.prod(axis=1).tolist()
    from pycocotools import mask as coco_mask

    return coco_mask.area(record.masks).tolist() if record.masks else []


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    out = boxes.astype(np.float64)
    out[:, 2:] -= out[:, :2]
    return out.tolist()


def _mean(values: np.ndarray) -> float:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else float("nan")
