"""Boxes that another detector proposes, from a file into samples (Girshick, Fast R-CNN, 2015)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torchvision import tv_tensors

from omma.data.transforms import Transform
from omma.errors import DataError
from omma.registry import register
from omma.structures import Prediction, Sample


@register
class LoadProposals(Transform):
    """Adds ``proposals`` (P, 4) to each sample. Stands first: later transforms move them with the image.

    Args:
        file: ``.npz`` as ``save_proposals`` writes it, or a list of COCO results (``.json``): objects with
            ``image_id``, ``bbox`` [x, y, width, height] and ``score``.
        num: proposals kept of each image, the best ones.

    Raises:
        DataError: the file is missing or something else; later, it has nothing for an image.
    """

    def __init__(self, *, file: str, num: int = 2000) -> None:
        if num < 1:
            raise ValueError(f"num must be positive, got {num}")
        self.file = Path(file)
        self.num = num
        ids, boxes, scores = _read(self.file)
        names, position = np.unique(ids, return_inverse=True)
        order = np.lexsort((-scores, position))
        self.boxes = torch.from_numpy(np.ascontiguousarray(boxes[order], np.float32))
        ends = np.cumsum(np.bincount(position, minlength=len(names))).tolist()
        starts = [0, *ends[:-1]]
        self.rows = {name: slice(*bounds) for name, *bounds in zip(names.tolist(), starts, ends)}

    def __call__(self, sample: Sample) -> Sample:
        """The sample with its image's proposals, in pixels of the original image."""
        meta = sample["meta"]
        rows = self.rows.get(meta.id)
        if rows is None:
            raise DataError(f"{self.file}: no proposals for the image with id {meta.id!r} ({meta.path})")
        boxes = self.boxes[rows][: self.num].clone()
        size = (meta.height, meta.width)
        proposals = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)  # pyright: ignore[reportCallIssue]
        return cast(Sample, {**sample, "proposals": proposals})


def save_proposals(
    file: str | Path, predictions: Mapping[int, Prediction] | Mapping[str, Prediction]
) -> None:
    """Write the boxes and scores of ``predictions``, by image id, for ``LoadProposals``."""
    ids = [np.repeat(np.array([name]), len(found["scores"])) for name, found in predictions.items()]
    np.savez_compressed(
        file,
        image_id=np.concatenate(ids) if ids else np.zeros(0, np.int64),
        boxes=np.concatenate([found["boxes"].cpu().numpy() for found in predictions.values()] or [_NONE]),
        scores=np.concatenate(
            [found["scores"].cpu().numpy() for found in predictions.values()] or [_NONE[:, 0]]
        ),
    )


_NONE = np.zeros((0, 4), np.float32)
_KEYS = ("image_id", "boxes", "scores")


def _read(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image id (K,), xyxy box (K, 4) and score (K,) of every proposal."""
    try:
        ids, boxes, scores = _read_json(file) if file.suffix == ".json" else _read_npz(file)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{file}: expected proposals (npz with {', '.join(_KEYS)}, or COCO results); {error}"
        ) from None
    if boxes.shape != (len(ids), 4) or scores.shape != (len(ids),):
        shapes = f"{ids.shape}, {boxes.shape} and {scores.shape}"
        raise DataError(f"{file}: expected {', '.join(_KEYS)} of shapes (K,), (K, 4) and (K,), got {shapes}")
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise DataError(f"{file}: expected finite boxes and scores, there are NaN or infinite ones")
    return ids, boxes, scores


def _read_npz(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(file, allow_pickle=False) as content:
        ids, boxes, scores = (content[key] for key in _KEYS)
    return ids, boxes, scores


def _read_json(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    results: list[Any] = json.loads(file.read_bytes())
    corners = np.array([result["bbox"] for result in results], np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    scores = np.array([result["score"] for result in results], np.float32)
    return np.array([result["image_id"] for result in results]), corners, scores
