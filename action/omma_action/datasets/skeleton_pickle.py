"""Skeletons in OpenMMLab's pickles (NTU RGB+D, FineGYM, HMDB51, UCF101 ...)."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omma.data.paths import under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_action.datasets.plain_pickle import read_plain_pickle
from omma_action.datasets.skeletons import SkeletonDataset, Track, class_names

_MOST_CLASSES = 65536
"""A label tells how many classes there are, each of which takes memory."""


@register
class SkeletonPickle(SkeletonDataset):
    """Sequences of a pickle: ``{"split": {name: [frame_dir, ...]}, "annotations": [...]}``, or a bare list.

    An annotation has ``frame_dir`` (its name), ``label``, ``keypoint`` (M, T, K, 2 or 3) and, where joints
    lie in an image, ``keypoint_score`` (M, T, K) and ``img_shape`` (height, width).

    The file is read without running any code of it.

    Args:
        annotations: the file.
        split: which part of it; null: all.
        root: folder that the file is relative to.
        classes: names in label order; null: their numbers.
        transforms: applied to each sample.

    Raises:
        DataError: the file is missing, would run code, or isn't what it should be.
    """

    def __init__(
        self,
        *,
        annotations: str,
        split: str | None = None,
        root: str | None = None,
        classes: tuple[str, ...] | None = None,
        transforms: tuple[AnyTransform, ...] = (),
    ) -> None:
        path = under(root, annotations)
        content = read_plain_pickle(path)
        records = _records(content, path)
        # Of the whole file, so that its splits agree on the classes.
        labels = [record["label"] for record in records if isinstance(record.get("label"), int | np.integer)]
        count = max(labels, default=-1) + 1
        if count > _MOST_CLASSES:
            raise DataError(f"{path}: expected labels below {_MOST_CLASSES}, got {count - 1}")
        chosen, missing = _chosen(records, content, split, path)
        super().__init__(
            _tracks(chosen, path),
            classes=class_names(classes, count, str(path)),
            where=str(path),
            transforms=transforms,
        )
        self.report.note(f"names of the split '{split}' without an annotation", str(path), missing)


def _records(content: Any, path: Path) -> list[dict[str, Any]]:
    """All annotations."""
    records = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(
            f"{path}: expected a list of annotations, or 'annotations' and 'split', got "
            f"{type(content).__name__}"
        )
    return records


def _chosen(
    records: list[dict[str, Any]], content: Any, split: str | None, path: Path
) -> tuple[Sequence[dict[str, Any]], int]:
    """Those of a split, and how many of its names have none."""
    if split is None:
        return records, 0
    splits = content.get("split") if isinstance(content, dict) else None
    if not isinstance(splits, dict) or split not in splits:
        there = ", ".join(map(str, splits)) if isinstance(splits, dict) else "none"
        raise DataError(f"{path}: there is no split '{split}'; there are: {there}")
    if not isinstance(splits[split], list | tuple | set | np.ndarray):
        raise DataError(
            f"{path}: expected a list of names in the split '{split}', got {type(splits[split]).__name__}"
        )
    wanted = {str(name) for name in splits[split]}
    chosen = [record for record in records if _name(record) in wanted]
    if not chosen:
        raise DataError(f"{path}: none of the {len(records)} annotations belongs to the split '{split}'")
    return chosen, len(wanted - {_name(record) for record in chosen})


def _name(record: dict[str, Any]) -> str:
    return str(record.get("frame_dir", record.get("filename")))


def _tracks(records: Sequence[dict[str, Any]], path: Path) -> Iterator[Track]:
    for number, record in enumerate(records):
        place = f"{path}: annotations[{number}]"
        try:
            joints = np.asarray(record["keypoint"]).view(np.ndarray)
            label = operator.index(record["label"])
            scores = record.get("keypoint_score")
            size = tuple(int(side) for side in record.get("img_shape", (0, 0)))
            if joints.dtype != np.float16:
                joints = joints.astype(np.float32)
            if scores is not None:
                scores = np.asarray(scores).view(np.ndarray).astype(joints.dtype)
                joints = np.concatenate([joints, scores[..., None]], axis=-1)
            total = record.get("total_frames", joints.shape[1])
        except KeyError as error:
            raise DataError(f"{place}: has no {error}; there are {', '.join(map(str, record))}") from None
        except (TypeError, ValueError, IndexError) as error:
            raise DataError(f"{place}: {error}") from None
        if total != joints.shape[1] or len(size) != 2:
            raise DataError(
                f"{place}: expected joints (persons, {total}, joints, numbers) and an img_shape (height, "
                f"width), got {joints.shape} and {size}"
            )
        yield Track(_name(record), joints, label, (size[0], size[1]))
