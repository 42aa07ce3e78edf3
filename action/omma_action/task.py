"""What the core knows of action recognition."""

from __future__ import annotations

from typing import Any

from omma.structures import DataInfo, Prediction
from omma.task import Demo, Task
from omma_action.visualizer import class_name, draw_prediction, draw_sample

LISTED = 5
"""Classes in the JSON form."""


def to_json(prediction: Prediction, info: DataInfo) -> list[dict[str, Any]]:
    """The likeliest classes of a clip, best first: ``label``, ``name`` and ``score`` in 0..1.

    None where nothing was to be seen.
    """
    scores = prediction["class_scores"]
    if not scores.any():
        return []
    values, labels = scores.topk(min(LISTED, len(scores)))
    return [
        {"label": label, "name": class_name(info, label), "score": round(score, 5)}
        for label, score in zip(labels.tolist(), values.tolist())
    ]


TASK = Task(
    name="action",
    draw=draw_prediction,
    draw_sample=draw_sample,
    to_json=to_json,
    demo=Demo(
        config="tsm_r18_shapes",
        baseline="tsn_r18_shapes",
        train=1,
        val=1,
        size=64,
        clips=720,
        shown="clips/val/0000?.mp4",
    ),
)
