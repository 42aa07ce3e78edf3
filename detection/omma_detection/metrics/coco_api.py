"""Feeds records to the COCO evaluators; both give the same arrays."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from omma.ops.masks import coco_mask
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

    def ap(
        self,
        *,
        iou: int | None = None,
        area: int = 0,
        label: int | None = None,
        labels: Sequence[int] | None = None,
    ) -> float:
        """Mean precision at IoU threshold number ``iou`` (all if None); NaN without ground truth."""
        values = self.precision[..., area, -1]
        values = values if iou is None else values[iou]
        if labels is not None:
            values = values[..., list(labels)]
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
    make_api, make_evaluator = _backend(backend)
    head = {
        "images": [{"id": i, "height": r.height, "width": r.width} for i, r in enumerate(ordered)],
        "categories": [{"id": label, "name": name} for label, name in enumerate(classes)],
    }
    # Both evaluators print their progress.
    with contextlib.redirect_stdout(io.StringIO()), _no_collection():
        truth, results = make_api(), make_api()
        for api, annotations in ((truth, _truth(ordered, kind)), (results, _results(ordered, kind))):
            api.dataset = {**head, "annotations": annotations}
            api.createIndex()
        evaluator = make_evaluator(truth, results, "bbox" if kind == "box" else "segm")
        evaluator.params.maxDets = list(limits)
        evaluator.evaluate()
        evaluator.accumulate()
    return Evaluation(np.asarray(evaluator.eval["precision"]), np.asarray(evaluator.eval["recall"]))


def _backend(name: Backend) -> tuple[Any, Any]:
    """The classes of annotations and of the evaluator."""
    if name == "faster":
        package = importlib.import_module("faster_coco_eval")
        return package.COCO, package.COCOeval_faster
    api, evaluator = (importlib.import_module(f"pycocotools.{part}") for part in ("coco", "cocoeval"))
    return api.COCO, evaluator.COCOeval


def _truth(records: Sequence[Record], kind: Kind) -> list[dict[str, Any]]:
    columns = (
        _owners([record.true_boxes for record in records]),
        np.concatenate([record.true_labels for record in records]).tolist(),
        _xywh([record.true_boxes for record in records]).tolist(),
        np.concatenate([record.area for record in records]).tolist(),
        np.concatenate([record.crowd for record in records]).tolist(),
    )
    # The evaluators take id 0 for "not matched".
    annotations: list[dict[str, Any]] = [
        {"id": i, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd)}
        for i, (image, label, box, area, crowd) in enumerate(zip(*columns), 1)
    ]
    return (
        _with_masks(annotations, [record.true_masks for record in records]) if kind == "mask" else annotations
    )


def _results(records: Sequence[Record], kind: Kind) -> list[dict[str, Any]]:
    boxes = _xywh([record.boxes for record in records])
    columns = (
        _owners([record.boxes for record in records]),
        np.concatenate([record.labels for record in records]).tolist(),
        boxes.tolist(),
        boxes[:, 2:].prod(axis=1).tolist() if kind == "box" else _mask_areas(records),
        np.concatenate([record.scores for record in records]).tolist(),
    )
    results: list[dict[str, Any]] = [
        {"id": i, "image_id": image, "category_id": label, "bbox": box, "area": area, "score": score}
        for i, (image, label, box, area, score) in enumerate(zip(*columns), 1)
    ]
    return _with_masks(results, [record.masks for record in records]) if kind == "mask" else results


def _with_masks(
    annotations: list[dict[str, Any]], masks: Sequence[list[dict[str, Any]] | None]
) -> list[dict[str, Any]]:
    flat = (mask for image in masks for mask in image or ())
    return [{**annotation, "segmentation": mask} for annotation, mask in zip(annotations, flat, strict=True)]


def _mask_areas(records: Sequence[Record]) -> list[float]:
    # One by one: the call for a list fails from 256 masks on.
    return [float(coco_mask().area(mask)) for record in records for mask in record.masks or ()]


def _owners(boxes: Sequence[np.ndarray]) -> list[int]:
    return np.repeat(np.arange(len(boxes)), [len(each) for each in boxes]).tolist()


def _xywh(boxes: Sequence[np.ndarray]) -> np.ndarray:
    out = np.concatenate(boxes).astype(np.float64)
    out[:, 2:] -= out[:, :2]
    return out


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking over half a million new dictionaries again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _mean(values: np.ndarray) -> float:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else float("nan")
