"""Skeletons as arrays in one open file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from omma.data.paths import under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_action.datasets.skeletons import SkeletonDataset, Track

_NEEDED = ("keypoints", "labels", "classes")


@register
class SkeletonArrays(SkeletonDataset):
    """Sequences of an ``.npz`` file, as ``omma``'s shapes world and anyone's script write it.

    ``keypoints`` (N, T, K, C) or (N, M, T, K, C), padded with zeros to T frames; ``labels`` (N,); ``classes``
    (names in label order). It may have ``scores`` (N, T, K) or (N, M, T, K), ``frames`` (N,) frames of each,
    ``paths`` (N,) names, ``size`` (height, width) in pixels.

    Args:
        annotations: the file.
        root: folder that it is relative to.
        classes: names in label order; null: the file's own. Sequences of other classes are left out.
        transforms: applied to each sample.

    Raises:
        DataError: the file is missing, holds objects, or isn't what it should be.
    """

    def __init__(
        self,
        *,
        annotations: str,
        root: str | None = None,
        classes: tuple[str, ...] | None = None,
        transforms: tuple[AnyTransform, ...] = (),
    ) -> None:
        path = under(root, annotations)
        arrays = _arrays(path)
        names = tuple(str(name) for name in arrays["classes"])
        chosen = names if classes is None else tuple(classes)
        if unknown := [name for name in chosen if name not in names]:
            raise DataError(f"{path}: has no class {', '.join(unknown)}; there are {', '.join(names)}")
        labels = {i: chosen.index(name) for i, name in enumerate(names) if name in chosen}
        super().__init__(_tracks(arrays, labels), classes=chosen, where=str(path), transforms=transforms)
        left_out = sum(int(label) not in labels for label in arrays["labels"])
        self.report.note("sequences of other classes, left out", str(path), left_out)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """What the file holds, with persons and scores in ``keypoints`` (N, M, T, K, C)."""
    try:
        # Without pickles: an array of objects is an error.
        with path.open("rb") as raw:
            if not zipfile.is_zipfile(raw):
                raise DataError(f"{path}: expected an .npz file, as numpy.savez writes, found another kind")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: expected an .npz file of plain arrays: {error}") from None
    if missing := [name for name in _NEEDED if name not in arrays]:
        raise DataError(f"{path}: expected arrays {', '.join(_NEEDED)}, got no {', '.join(missing)}")
    _check(arrays, path)
    if "scores" in arrays:
        arrays["keypoints"] = np.concatenate([arrays["keypoints"], arrays["scores"][..., None]], axis=-1)
    if arrays["keypoints"].ndim == 4:
        arrays["keypoints"] = arrays["keypoints"][:, None]
    return arrays


def _check(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Whether the arrays fit each other.

    Raises:
        DataError: one has another form or kind than it must.
    """
    shape = arrays["keypoints"].shape
    if len(shape) not in (4, 5):
        raise DataError(f"{path}: expected keypoints (N, T, K, C) or (N, M, T, K, C), got {shape}")
    count, frames = shape[0], shape[-3]
    forms = {"labels": (count,), "scores": shape[:-1], "frames": (count,), "paths": (count,), "size": (2,)}
    for name, form in forms.items():
        if name in arrays and arrays[name].shape != form:
            raise DataError(
                f"{path}: expected {name} {form}, as keypoints are {shape}, got {arrays[name].shape}"
            )
    if arrays["classes"].ndim != 1:
        raise DataError(f"{path}: expected classes to be a list of names, got {arrays['classes'].shape}")
    kinds = {"keypoints": "iuf", "scores": "iuf", "labels": "iu", "frames": "iu", "size": "iu"}
    for name, kind in kinds.items():
        if name in arrays and arrays[name].dtype.kind not in kind:
            wanted = "whole numbers" if kind == "iu" else "numbers"
            raise DataError(f"{path}: expected {wanted} in {name}, got {arrays[name].dtype}")
    for name, most in (("labels", len(arrays["classes"]) - 1), ("frames", frames)):
        values = arrays.get(name, np.zeros(0, int))
        if len(outside := np.flatnonzero((values < 0) | (values > most))):
            raise DataError(
                f"{path}: {name}[{outside[0]}]: expected 0 to {most}, as "
                f"{'there are classes' if name == 'labels' else 'keypoints have'}, got {values[outside[0]]} "
                f"({len(outside)} such {name})"
            )


def _tracks(arrays: dict[str, np.ndarray], labels: dict[int, int]) -> list[Track]:
    joints = arrays["keypoints"].astype(np.float32)
    frames = arrays.get("frames", np.full(len(joints), joints.shape[2]))
    names = arrays.get("paths", np.arange(len(joints)))
    height, width = arrays.get("size", np.zeros(2)).astype(int).tolist()
    return [
        Track(str(name), rows[:, : int(length)], labels[int(label)], (height, width))
        for name, rows, length, label in zip(names, joints, frames, arrays["labels"], strict=True)
        if int(label) in labels
    ]
