"""Reads key points of COCO's form into compact arrays, and looks at what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omma.data.annotations import Annotations, Report
from omma.data.coco import CocoReader
from omma.errors import DataError
from omma.structures import Skeleton

FILLED = 0.53
"""Share of its box that a person fills whose area isn't annotated, as the evaluation of CrowdPose and
AI Challenger takes it."""
_VISIBILITIES = (0, 1, 2)


class KeypointReader(CocoReader):
    """As of boxes, with the key points of objects and of categories."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, masks=False, keypoints=True, cut=False, filled=FILLED)
        self._named: dict[str, tuple[str, Any, Any]] = {}

    def category(self, number: int, record: Any) -> None:
        """Take an entry of ``categories``. Its skeleton is read when one asks for it: those of some published
        files contradict themselves.
        """
        super().category(number, record)
        if record.get("keypoints"):
            where = f"{self.path}: categories[{number}]"
            self._named[record["name"]] = where, record["keypoints"], record.get("skeleton") or []

    def keypoints(self, record: Any, where: str) -> Sequence[float]:
        """x, y and visibility in turn; nothing where the object has none.

        Raises:
            DataError: it is no list of triples.
        """
        values = record.get("keypoints", [])
        if not isinstance(values, list) or len(values) % 3:
            found = f"{len(values)} numbers" if isinstance(values, list) else f"{values!r:.80}"
            raise DataError(f"{where}: expected 'keypoints': [x, y, visibility, ...], got {found}")
        return values

    def skeleton(self, classes: tuple[str, ...]) -> Skeleton:
        """That of the classes.

        Raises:
            DataError: none has one, one contradicts itself, or two have different ones.
        """
        found = {name: _skeleton(*self._named[name]) for name in classes if name in self._named}
        if not found:
            raise DataError(
                f"{self.path}: the category {', '.join(classes)} names no 'keypoints'; name a skeleton in "
                "data.skeleton, such as coco, or give a YAML file of one"
            )
        first = next(iter(found.values()))
        if other := next((name for name, each in found.items() if each.names != first.names), None):
            raise DataError(
                f"{self.path}: the categories {next(iter(found))} and {other} have different key points; "
                "choose one of them in data.classes"
            )
        return first


def _skeleton(where: str, names: Any, bones: Any) -> Skeleton:
    """Of a category's names and bones."""
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise DataError(f"{where}: expected a list of names in 'keypoints', got {names!r:.80}")
    try:
        pairs = tuple((names[_position(a, names)], names[_position(b, names)]) for a, b in bones)
        return Skeleton(names=tuple(names), bones=pairs)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}; or name a skeleton in data.skeleton") from None


def _position(number: Any, names: list[str]) -> int:
    """The position that COCO, which counts from 1, calls ``number``."""
    if not (isinstance(number, int) and 1 <= number <= len(names)):
        raise ValueError(f"expected numbers from 1 to {len(names)} in 'skeleton', got {number!r:.40}")
    return number - 1


def dense_keypoints(table: Annotations, count: int, where: str) -> tuple[Tensor, Tensor]:
    """Key points (O, K, 2) float32 and their visibility (O, K) uint8; zeros for objects without any.

    Raises:
        DataError: an object has another number of key points, a coordinate isn't finite, or a visibility is
            none of 0, 1 and 2.
    """
    rows = table.keypoints
    assert rows is not None
    lengths = rows.starts[1:] - rows.starts[:-1]
    given = lengths > 0
    if len(wrong := (given & (lengths != 3 * count)).nonzero()):
        first = int(wrong[0])
        raise DataError(
            f"{where}: annotation {int(table.object_ids[first])}: expected {count} key points, as "
            f"the skeleton has, got {int(lengths[first]) // 3} ({len(wrong)} such annotations)"
        )
    dense = torch.zeros(len(lengths), count, 3)
    dense[given] = rows.values.reshape(-1, count, 3)
    if len(wrong := (~dense.isfinite()).nonzero()):
        raise DataError(
            f"{where}: annotation {int(table.object_ids[wrong[0, 0]])}: key point {int(wrong[0, 1])} is NaN "
            "or infinite"
        )
    seen = dense[..., 2]
    if len(wrong := (~torch.isin(seen, seen.new_tensor(_VISIBILITIES))).nonzero()):
        row, point = wrong[0].tolist()
        raise DataError(
            f"{where}: annotation {int(table.object_ids[row])}: expected 0 (not labelled), 1 (hidden) or 2 "
            f"(visible) as visibility of key point {point}, got {float(seen[row, point]):g} "
            f"({len(wrong)} such key points)"
        )
    return dense[..., :2].contiguous(), seen.to(torch.uint8)


def count_outside(
    table: Annotations, keypoints: Tensor, visibility: Tensor, where: str, report: Report
) -> None:
    """Note labelled key points beside their image; they are kept, since a crop may show where they lie."""
    lengths = table.starts[1:] - table.starts[:-1]
    size = torch.repeat_interleave(table.sizes, lengths, dim=0).flip(1)[:, None]
    # The outermost pixels reach half a pixel beyond their centres.
    beside = ((keypoints < -0.5) | (keypoints > size - 0.5)).any(dim=2) & (visibility > 0)
    if beside.any():
        first = int(beside.any(dim=1).nonzero()[0])
        place = f"{where}: annotation {int(table.object_ids[first])}"
        report.note("key points outside of their image, which are kept", place, int(beside.sum()))
