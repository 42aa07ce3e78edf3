"""Predictions and ground truth for the metrics' tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from omma.structures import DataInfo, Prediction, Target


def prediction(boxes: Any = (), scores: Any = (), labels: Any = (), masks: Any = None) -> Prediction:
    out = Prediction(
        boxes=torch.as_tensor(np.asarray(boxes, dtype=np.float32)).reshape(-1, 4),
        scores=torch.as_tensor(np.asarray(scores, dtype=np.float64)),
        labels=torch.as_tensor(np.asarray(labels, dtype=np.int64)),
    )
    if masks is not None:
        out["masks"] = torch.as_tensor(masks)
    return out


def target(index: int, boxes: Any = (), labels: Any = (), crowd: Any = None, size: int = 100) -> Target:
    corners = torch.as_tensor(np.asarray(boxes, dtype=np.float32)).reshape(-1, 4)
    return Target(
        index=index,
        id=index,
        path=f"{index}.jpg",
        height=size,
        width=size,
        boxes=corners,
        labels=torch.as_tensor(np.asarray(labels, dtype=np.int64)),
        crowd=torch.zeros(len(corners), dtype=torch.bool)
        if crowd is None
        else torch.tensor(crowd, dtype=torch.bool),
        area=(corners[:, 2:] - corners[:, :2]).prod(1),
    )


def judged(metric: Any, pairs: Any, classes: tuple[str, ...]) -> Any:
    metric.start(DataInfo(classes))
    for guess, truth in pairs:
        metric.update([guess], [truth])
    return metric


def random_pairs(seed: int, images: int = 12, classes: int = 3) -> list[tuple[Prediction, Target]]:
    """Objects, good and bad detections of them, crowds and ties of scores."""
    rng = np.random.default_rng(seed)
    pairs = []
    for index in range(images):
        count = int(rng.integers(0, 6))
        corner = rng.uniform(0, 300, (count, 2))
        true = np.concatenate([corner, corner + rng.uniform(8, 200, (count, 2))], axis=1).round(1)
        labels = rng.integers(0, classes, count)
        chosen = rng.integers(0, count, int(rng.integers(0, 12))) if count else np.zeros(0, dtype=int)
        guesses = true[chosen] + rng.normal(0, 8, (len(chosen), 4))
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        named = np.where(rng.random(len(chosen)) < 0.7, labels[chosen], rng.integers(0, classes, len(chosen)))
        scores = rng.random(len(chosen)).round(1)
        crowd = (rng.random(count) < 0.15).tolist()
        pairs.append((prediction(guesses, scores, named), target(index, true, labels, crowd, size=512)))
    return pairs
