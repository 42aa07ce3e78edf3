"""What to look at beside average precision: counts, confusions and the worst images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from omma.metrics import Matrix, Ranking, Table
from omma.ops import box_area, pairwise_iou
from omma_detection.metrics.records import Record

MATCH_IOU = 0.5
"""Overlap from which a prediction and an object are held to be the same thing."""


@dataclass(frozen=True)
class Matches:
    """Which prediction stands for which object in one image."""

    predicted: np.ndarray  # (P,) indices of matched predictions
    true: np.ndarray  # (P,) the object of each
    extra: np.ndarray  # indices of predictions of nothing that is there
    missed: np.ndarray  # indices of objects that nothing was predicted for


def overlaps(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """IoU of each of (N, 4) xyxy boxes with each of (M, 4), as (N, M) float64.

    Where ``crowd`` (M,) is set, it is the share of the first box that lies in the other one.
    """
    a, b = (torch.as_tensor(each, dtype=torch.float64) for each in (boxes, others))
    iou = pairwise_iou(a, b, eps=1e-12).numpy()
    if crowd is None or not crowd.any():
        return iou
    area, other = (box_area(each).numpy() for each in (a, b))
    common = iou * (area[:, None] + other) / (1 + iou)
    inside = np.divide(common, area[:, None], out=np.zeros_like(iou), where=area[:, None] > 0)
    return np.where(crowd, inside, iou)


def match(record: Record, score_threshold: float) -> Matches:
    """Pair predictions from ``score_threshold`` on with objects, whatever their classes.

    Pairs of the same class come first, then those of the larger overlap. A prediction inside a crowd
    region is neither matched nor extra.
    """
    kept = np.flatnonzero(record.scores >= score_threshold)
    iou = overlaps(record.boxes[kept], record.true_boxes, record.crowd)
    overlapping = iou >= MATCH_IOU
    ignored = overlapping[:, record.crowd].any(axis=1)
    rows, columns = np.nonzero(overlapping & ~record.crowd)
    same = record.labels[kept[rows]] == record.true_labels[columns]
    free_rows, free_columns = np.ones(len(kept), dtype=bool), ~record.crowd
    pairs = []
    for place in np.lexsort((-iou[rows, columns], ~same)):
        row, column = rows[place], columns[place]
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            pairs.append((kept[row], column))
    predicted, true = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Matches(predicted, true, kept[free_rows & ~ignored], np.flatnonzero(free_columns))


def confusion(records: Mapping[int, Record], classes: Sequence[str], score_threshold: float) -> Matrix:
    """Objects by true class against predicted class; the last row and column are the background."""
    size = len(classes) + 1
    truth, guess = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for record in records.values():
        found = match(record, score_threshold)
        nothing = np.full(len(found.missed) + len(found.extra), len(classes))
        truth += [record.true_labels[np.append(found.true, found.missed)], nothing[: len(found.extra)]]
        guess += [record.labels[found.predicted], nothing[len(found.extra) :], record.labels[found.extra]]
    cells = size * np.concatenate(truth) + np.concatenate(guess)
    counts = np.bincount(cells, minlength=size**2).reshape(size, size).astype(float)
    names = [*classes, "background"]
    title = f"Confusion at IoU {MATCH_IOU}, scores from {score_threshold:g}"
    return Matrix(title, "truth", "prediction", names, names, counts.tolist())


def worst_images(
    records: Mapping[int, Record], classes: Sequence[str], score_threshold: float, *, limit: int = 50
) -> Ranking:
    """Images by missed objects plus the scores of wrong predictions; those without a fault are left out."""
    entries: list[tuple[int, float, str]] = []
    for position, record in records.items():
        found = match(record, score_threshold)
        wrong = record.labels[found.predicted] != record.true_labels[found.true]
        taken = found.predicted[wrong]
        false_scores = record.scores[np.append(found.extra, taken)]
        badness = len(found.missed) + len(taken) + float(false_scores.sum(dtype=np.float64))
        if badness > 0:
            pairs = zip(
                _names(classes, record.true_labels[found.true[wrong]]), _names(classes, record.labels[taken])
            )
            faults = [
                _counted("missed", _names(classes, record.true_labels[found.missed])),
                _counted("false", _names(classes, record.labels[found.extra])),
                _counted("confused", [f"{true} as {guess}" for true, guess in pairs]),
            ]
            entries.append((position, badness, f"{record.path}: {'; '.join(filter(None, faults))}"))
    entries.sort(key=lambda entry: (-entry[1], entry[0]))
    return Ranking("Worst images", entries[:limit])


def count_table(
    title: str, records: Mapping[int, Record], classes: Sequence[str], columns: Mapping[str, Sequence[float]]
) -> Table:
    """One row per class: its name, ``columns``, its objects (crowds left out) and its predictions."""
    objects, predictions = np.zeros(len(classes), dtype=int), np.zeros(len(classes), dtype=int)
    for record in records.values():
        objects += np.bincount(record.true_labels[~record.crowd], minlength=len(classes))
        predictions += np.bincount(record.labels, minlength=len(classes))
    rows: list[list[str | float | int]] = [
        [name, *(column[label] for column in columns.values()), int(objects[label]), int(predictions[label])]
        for label, name in enumerate(classes)
    ]
    return Table(title, ["class", *columns, "objects", "predictions"], rows)


def _names(classes: Sequence[str], labels: np.ndarray) -> list[str]:
    return [classes[int(label)] for label in labels]


def _counted(word: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    most = [f"{name} x{count}" if count > 1 else name for name, count in Counter(names).most_common(4)]
    return f"{len(names)} {word} ({', '.join(most)}{', ...' if len(set(names)) > 4 else ''})"
