"""What metrics of key points keep of each sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from omma.errors import DataError
from omma.structures import Prediction, Target


@dataclass(slots=True)
class Record:
    """Predictions for one sample, and all that is annotated in its image, in original pixels."""

    id: int | str
    path: str
    boxes_of: str | None
    """File of the detector whose boxes were looked at; None: the annotated ones."""
    instance: int | None
    """Which of the annotated objects the sample shows, if it is one."""
    keypoints: np.ndarray  # (N, K, 2) float32
    keypoint_scores: np.ndarray  # (N, K)
    scores: np.ndarray  # (N,) of the boxes
    areas: np.ndarray  # (N,)
    labels: np.ndarray  # (N,)
    true_keypoints: np.ndarray  # (M, K, 2) float32
    labelled: np.ndarray  # (M, K) bool
    true_boxes: np.ndarray  # (M, 4)
    true_labels: np.ndarray  # (M,)
    true_areas: np.ndarray  # (M,)
    crowd: np.ndarray  # (M,) bool
    crowd_index: float | None
    """How crowded the image is, where that is known."""
    head_sizes: np.ndarray | None  # (M,) pixels, likewise


def make_record(prediction: Prediction, target: Target) -> Record:
    """What must be kept of one sample; of a target that no sample shows there is no prediction.

    Raises:
        DataError: a key point or score isn't finite, or there are others than annotated.
    """
    true = _array(target["keypoints"])
    count = true.shape[1]
    if "keypoints" in prediction:
        keypoints = _array(prediction["keypoints"])
        found = [
            _array(value)
            for value in (
                prediction["keypoint_scores"],
                prediction["scores"],
                prediction["areas"],
                prediction["labels"],
            )
        ]
    else:
        keypoints = np.zeros((0, count, 2), np.float32)
        found = [keypoints[..., 0], *(np.zeros(0, np.float32) for _ in range(3))]
    if keypoints.shape[1] != count:
        raise DataError(
            f"{target['path']}: the model predicts {keypoints.shape[1]} key points, annotated are {count}; "
            "set data.skeleton and data.num_keypoints to those of the data"
        )
    if not (np.isfinite(keypoints).all() and np.isfinite(found[0]).all()):
        raise DataError(f"{target['path']}: the model predicts key points or scores that are not finite")
    return Record(
        target["id"],
        target["path"],
        target.get("boxes_of"),
        target.get("instance"),
        keypoints,
        found[0],
        found[1],
        found[2],
        found[3].astype(np.int64),
        true,
        _array(target["visibility"]) > 0,
        _array(target["boxes"]),
        _array(target["labels"]),
        _array(target["area"]),
        _array(target["crowd"]),
        target.get("crowd_index"),
        _array(target["head_sizes"]) if "head_sizes" in target else None,
    )


def boxes_used(records: Iterable[Record]) -> str:
    """Which boxes the samples show, in words.

    Raises:
        DataError: some show annotated boxes and others a detector's, or two detectors'.
    """
    found = {record.boxes_of for record in records}
    if len(found) > 1:
        names = ", ".join(sorted(name or "annotated boxes" for name in found))
        raise DataError(
            f"these samples show boxes of different origins, whose numbers can't be compared: {names}"
        )
    file = next(iter(found), None)
    return "annotated boxes" if file is None else f"boxes of {file}"


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
