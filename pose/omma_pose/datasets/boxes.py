"""Boxes that a detector found, from its results in COCO's form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omma.data.annotations import Report
from omma.errors import DataError


def read_boxes(
    path: Path,
    *,
    images: Mapping[int | str, int],
    categories: Mapping[int | str, int],
    threshold: float,
    report: Report,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image (B,) int64, box (B, 4) xyxy float32, label (B,) and score (B,) of each, image after image.

    Args:
        path: a list of objects with ``image_id``, ``category_id``, ``bbox`` [x, y, width, height], ``score``.
        images: position of each image by id.
        categories: label of each category by id; boxes of others are left out.
        threshold: smallest score that is kept.
        report: takes the counts of what is left out.

    Raises:
        DataError: the file isn't what it should be, or speaks of none of the images.
    """
    try:
        results: list[Any] = json.loads(path.read_bytes())
        columns = [(r["image_id"], r["category_id"], r["bbox"], r["score"]) for r in results]
        corners = np.array([box for *_, box, _ in columns], np.float64).reshape(len(columns), 4)
        scores = np.array([score for *_, score in columns], np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected a list of boxes with image_id, category_id, bbox and score; {error!r:.200}"
        ) from None
    if not (np.isfinite(corners).all() and np.isfinite(scores).all()):
        raise DataError(f"{path}: expected finite boxes and scores, there are NaN or infinite ones")
    source = np.array([images.get(image, -1) for image, *_ in columns], np.int64)
    label = np.array([categories.get(category, -1) for _, category, *_ in columns], np.int64)
    keep = np.ones(len(columns), bool)
    for faulty, what in (
        (source < 0, "boxes left out: their image isn't among the annotated ones"),
        (label < 0, "boxes left out: a category not asked for"),
        ((corners[:, 2:] <= 0).any(axis=1), "boxes left out: without width or height"),
        (scores < threshold, f"boxes left out: their score is under {threshold:g}"),
    ):
        report.note(what, str(path), int((faulty & keep).sum()))
        keep &= ~faulty
    if not keep.any():
        raise DataError(f"{path}: none of its {len(columns)} boxes can be used: {'; '.join(report.lines())}")
    corners[:, 2:] += corners[:, :2]
    order = np.flatnonzero(keep)[np.argsort(source[keep], kind="stable")]
    return (
        torch.from_numpy(source[order]),
        torch.from_numpy(corners[order].astype(np.float32)),
        torch.from_numpy(label[order]),
        torch.from_numpy(scores[order].astype(np.float32)),
    )
