"""MSR Action3D (Li, Zhang and Liu, CVPR Workshops 2010): 20 actions of ten persons before a Kinect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from omma.data.paths import under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_action.datasets.skeletons import SkeletonDataset, Track

_ACTIONS = (
    "high arm wave",
    "horizontal arm wave",
    "hammer",
    "hand catch",
    "forward punch",
    "high throw",
    "draw x",
    "draw tick",
    "draw circle",
    "hand clap",
    "two hand wave",
    "side boxing",
    "bend",
    "forward kick",
    "side kick",
    "jogging",
    "tennis swing",
    "tennis serve",
    "golf swing",
    "pickup and throw",
)
_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)")
_JOINTS = 20


@register
class MSRAction3D(SkeletonDataset):
    """Files ``a01_s01_e01_skeleton3D.txt``: x, y, z in metres and confidence of 20 joints, frame after frame.

    Args:
        subjects: persons whose sequences are taken, 1 to 10. The usual split trains on the odd ones.
        folder: of the files.
        listed: file in the folder with the names of the sequences that are taken, one a line; null: all.
        root: folder that ``folder`` is relative to.
        classes: names of the actions, in label order; null: all 20.
        transforms: applied to each sample.

    Raises:
        DataError: files are missing or aren't what they should be.
    """

    def __init__(
        self,
        *,
        subjects: tuple[int, ...],
        folder: str = "real_world_coordinates",
        listed: str | None = "files_used_in_cvpr12_paper.txt",
        root: str | None = None,
        classes: tuple[str, ...] | None = None,
        transforms: tuple[AnyTransform, ...] = (),
    ) -> None:
        names = _ACTIONS if classes is None else tuple(classes)
        if unknown := [name for name in names if name not in _ACTIONS]:
            raise DataError(f"MSR Action3D has no action {', '.join(unknown)}; it has {', '.join(_ACTIONS)}")
        place = under(root, folder)
        tracks = _tracks(place, set(subjects), _listed(place, listed), names)
        super().__init__(tracks, classes=names, where=str(place), transforms=transforms)


def _listed(folder: Path, listed: str | None) -> set[str] | None:
    """Names of the sequences in the list."""
    if listed is None:
        return None
    try:
        return set((folder / listed).read_text().split())
    except OSError as error:
        raise DataError(f"{folder / listed}: can't be read: {error.strerror or error}") from None


def _tracks(
    folder: Path, subjects: set[int], listed: set[str] | None, names: tuple[str, ...]
) -> Iterator[Track]:
    for path in sorted(folder.glob("a??_s??_e??_skeleton3D.txt")):
        found = _NAME.match(path.name)
        if found is None or int(found[2]) not in subjects or (listed is not None and found[0] not in listed):
            continue
        action = _ACTIONS[int(found[1]) - 1] if 1 <= int(found[1]) <= len(_ACTIONS) else None
        if action in names:
            yield Track(found[0], _joints(path), names.index(action))


def _joints(path: Path) -> np.ndarray:
    """(1, T, 20, 3)."""
    try:
        numbers = np.array(path.read_text().split(), np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected four numbers a line: {error}") from None
    if not numbers.size or numbers.size % (4 * _JOINTS):
        raise DataError(
            f"{path}: expected x, y, z and confidence of {_JOINTS} joints for each frame, got {numbers.size} "
            "numbers"
        )
    return np.ascontiguousarray(numbers.reshape(1, -1, _JOINTS, 4)[..., :3])
