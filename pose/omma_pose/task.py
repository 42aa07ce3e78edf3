"""What the core knows of pose estimation."""

from __future__ import annotations

from typing import Any

from omma.structures import DataInfo, Prediction
from omma.task import Demo, Task
from omma_pose.visualizer import draw_prediction, draw_sample


def to_json(prediction: Prediction, info: DataInfo) -> list[dict[str, Any]]:
    """One object for each that was found: ``box`` (x1, y1, x2, y2) and ``keypoints`` ([x, y, score] each) in
    pixels, ``score`` of the box, ``label`` and ``name``, and ``track`` where it was followed through a video.
    Whole pixels are centres.
    """
    names = info.classes
    found: list[dict[str, Any]] = [
        {
            "box": [round(side, 2) for side in box],
            "score": round(score, 5),
            "label": label,
            "name": names[label] if label < len(names) else str(label),
            "keypoints": [[round(x, 2), round(y, 2), round(s, 4)] for (x, y), s in zip(points, scores)],
        }
        for box, score, label, points, scores in zip(
            prediction["boxes"].tolist(),
            prediction["scores"].tolist(),
            prediction["labels"].tolist(),
            prediction["keypoints"].tolist(),
            prediction["keypoint_scores"].tolist(),
        )
    ]
    if "tracks" in prediction:
        for entry, track in zip(found, prediction["tracks"].tolist()):
            entry["track"] = track
    return found


TASK = Task(
    name="pose",
    draw=draw_prediction,
    draw_sample=draw_sample,
    to_json=to_json,
    demo=Demo(config="td-hm_res18_shapes", boxes="annotations/keypoints_val.json"),
)
