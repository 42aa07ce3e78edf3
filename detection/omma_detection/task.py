"""What the core knows of detection."""

from __future__ import annotations

from typing import Any

from omma.ops import encode_masks
from omma.structures import DataInfo, Prediction
from omma.task import Demo, Task
from omma_detection.augmentation import MergeDetections
from omma_detection.datasets.classes import KNOWN
from omma_detection.metrics.rle import json_rle
from omma_detection.visualizer import class_name, draw_prediction, draw_sample


def to_json(prediction: Prediction, info: DataInfo) -> list[dict[str, Any]]:
    """One object per detection: ``box`` (x1, y1, x2, y2) in pixels, ``score``, ``label``, ``name``, and
    ``mask``, a COCO run-length encoding, where the model predicts masks.
    """
    found: list[dict[str, Any]] = [
        {
            "box": [round(side, 2) for side in box],
            "score": round(score, 5),
            "label": label,
            "name": class_name(info, label),
        }
        for box, score, label in zip(
            prediction["boxes"].tolist(), prediction["scores"].tolist(), prediction["labels"].tolist()
        )
    ]
    if "masks" in prediction:
        for entry, mask in zip(found, encode_masks(prediction["masks"])):
            entry["mask"] = json_rle(mask)
    return found


TASK = Task(
    name="detection",
    draw=draw_prediction,
    draw_sample=draw_sample,
    to_json=to_json,
    demo=Demo(config="fcos_r18_shapes"),
    class_lists=KNOWN,
    merge=MergeDetections,
)
