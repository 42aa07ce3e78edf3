"""What the core knows of segmentation."""

from __future__ import annotations

from typing import Any

from omma.ops import encode_masks
from omma.structures import DataInfo, Prediction
from omma.task import Demo, Task
from omma_segmentation.augmentation import MergeSegmentations
from omma_segmentation.datasets.classes import KNOWN
from omma_segmentation.visualizer import draw_prediction, draw_sample


def to_json(prediction: Prediction, info: DataInfo) -> list[dict[str, Any]]:
    """One object per class that was found, largest first: ``label``, ``name``, ``pixels``, their ``share``
    of the image, and ``mask``, a COCO run-length encoding.
    """
    semantic = prediction["semantic"]
    labels, counts = semantic.unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)
    labels, counts = labels[order], counts[order]
    masks = encode_masks(semantic[None] == labels[:, None, None])
    return [
        {
            "label": label,
            "name": info.classes[label],
            "pixels": count,
            "share": round(count / semantic.numel(), 5),
            "mask": {"size": mask["size"], "counts": mask["counts"].decode()},
        }
        for label, count, mask in zip(labels.tolist(), counts.tolist(), masks)
    ]


TASK = Task(
    name="segmentation",
    draw=draw_prediction,
    draw_sample=draw_sample,
    to_json=to_json,
    demo=Demo(config="upernet_r18_shapes", train=2400, size=128),
    class_lists=KNOWN,
    merge=MergeSegmentations,
)
