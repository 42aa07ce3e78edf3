"""What the detection metrics keep of each image, and how they name what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from omma.errors import DataError
from omma.ops import encode_masks
from omma.structures import Prediction, Target
from omma_detection.metrics.rle import encode_segmentation


@dataclass(slots=True)
class Record:
    """Predictions and ground truth of one image, in its original pixels, on the CPU."""

    id: int | str
    path: str
    height: int
    width: int
    boxes: np.ndarray  # (N, 4) float32, xyxy, by falling score
    scores: np.ndarray  # (N,) float32
    labels: np.ndarray  # (N,) int64
    true_boxes: np.ndarray  # (M, 4) float32, xyxy
    true_labels: np.ndarray  # (M,) int64
    crowd: np.ndarray  # (M,) bool
    area: np.ndarray  # (M,) float32
    masks: list[dict[str, Any]] | None = None
    """N encodings, where masks are judged."""
    true_masks: list[dict[str, Any]] | None = None
    """M encodings, likewise."""
    absent: np.ndarray | None = None
    """(K,) labels that were looked for in vain, where not all classes are annotated in all images."""
    partial: np.ndarray | None = None
    """(K,) labels of which there may be more than is annotated, likewise."""


def make_record(
    prediction: Prediction, target: Target, *, masks: bool = False, limit: int | None = None
) -> Record:
    """What must be kept of one image.

    Args:
        prediction: of the model.
        target: of the data set.
        masks: keep the masks as well.
        limit: keep only so many predictions, those of the highest scores.

    Raises:
        DataError: masks are asked for and the model or the annotations have none; a box or score is not
            finite.
    """
    scores = _array(prediction["scores"])
    order = np.argsort(-scores, kind="stable")[:limit]
    boxes = _array(prediction["boxes"]).reshape(-1, 4)[order]
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise DataError(f"{target['path']}: the model predicts boxes or scores that are not finite numbers")
    boxes_true = _array(target["boxes"]).reshape(-1, 4)
    count = len(boxes_true)
    sides = boxes_true[:, 2:] - boxes_true[:, :2]
    record = Record(
        id=target["id"],
        path=target["path"],
        height=target["height"],
        width=target["width"],
        boxes=boxes,
        scores=scores[order],
        labels=_array(prediction["labels"])[order].astype(np.int64),
        true_boxes=boxes_true,
        true_labels=_array(target["labels"]).astype(np.int64),
        crowd=_array(target["crowd"]).astype(bool) if "crowd" in target else np.zeros(count, dtype=bool),
        area=_array(target["area"]) if "area" in target else sides.prod(axis=1),
    )
    record.absent = _array(target["absent"]) if "absent" in target else None
    record.partial = _array(target["partial"]) if "partial" in target else None
    if masks:
        record.masks = _predicted_masks(prediction, target, order)
        record.true_masks = _true_masks(target)
    return record


def check_labels(records: Mapping[int, Record], classes: Sequence[str]) -> None:
    """See that every label names a class.

    Raises:
        DataError: one doesn't: the model or the data set was made for other classes.
    """
    for record in records.values():
        for owner, labels in (
            ("the model predicts", record.labels),
            ("the data set has", record.true_labels),
        ):
            wrong = labels[(labels < 0) | (labels >= len(classes))]
            if len(wrong):
                raise DataError(
                    f"{record.path}: {owner} label {int(wrong[0])}, but there are {len(classes)} classes "
                    f"({_some(classes)}); give model and data the same data.num_classes and data.classes"
                )


def complaint(records: Mapping[int, Record], classes: Sequence[str]) -> str | None:
    """Why the numbers say nothing or zero, if not for the model's lack of skill; None if all is well."""
    true = {int(label) for record in records.values() for label in record.true_labels[~record.crowd]}
    predicted = {int(label) for record in records.values() for label in record.labels}
    if not records:
        return "no image was evaluated, so nothing could be measured"
    if not true:
        return f"none of the {len(records)} images has an object, so average precision is undefined (nan)"
    if not predicted:
        return f"the model predicts nothing on any of the {len(records)} images"
    if not true & predicted:
        names = [_some([classes[label] for label in sorted(labels)]) for labels in (predicted, true)]
        return (
            f"no predicted class ({names[0]}) occurs in the ground truth ({names[1]}), "
            "so average precision is 0; are the classes of weights and data set in the same order?"
        )
    return None


def _predicted_masks(prediction: Prediction, target: Target, order: np.ndarray) -> list[dict[str, Any]]:
    masks = prediction.get("masks")
    if masks is None:
        raise DataError("the metric judges masks, but the model predicts none; take 'mask' out of its kinds")
    expected = (len(prediction["scores"]), target["height"], target["width"])
    if tuple(masks.shape) != expected:
        raise DataError(
            f"{target['path']}: expected predicted masks of shape {expected}, got {tuple(masks.shape)}"
        )
    encoded = encode_masks(masks)
    return [encoded[i] for i in order]


def _true_masks(target: Target) -> list[dict[str, Any]]:
    segmentations = target.get("segmentations")
    if segmentations is None:
        if not len(target["boxes"]):
            return []
        raise DataError(
            f"{target['path']}: mask AP is asked for, but the annotations have no masks; "
            "let the data set read masks, or take 'mask' out of the metric's kinds"
        )
    try:
        return [encode_segmentation(each, target["height"], target["width"]) for each in segmentations]
    except ValueError as error:
        raise DataError(f"{target['path']}: a ground-truth mask can't be used: {error}") from error


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _some(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
