"""LVIS: over a thousand classes, not all of them annotated in all images (Gupta et al., 2019)."""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omma.data.annotations import Annotations, Ragged, Report, starts_of
from omma.data.coco import CocoReader, checked_id
from omma.errors import DataError
from omma.registry import register
from omma_detection.datasets.coco import CocoDetection

FREQUENCIES = ("r", "c", "f")
"""Rare, common and frequent: in up to 10, up to 100 or more training images."""


@register
class LvisDetection(CocoDetection):
    """Images and an LVIS file: COCO's form, and in addition what was looked for in each image.

    Of an image, ``neg_category_ids`` are classes that were looked for in vain, and
    ``not_exhaustive_category_ids`` those of which there are more objects than annotated; all other classes
    without an object were not looked for. Categories have a ``frequency``: r, c or f.

    Args:
        annotations, images, root, classes, transforms, masks, drop_empty, on_error, semantic: as
            ``CocoDetection``.

    Raises:
        DataError: as ``CocoDetection``, or the file lacks what LVIS adds.
    """

    def reader(self, path: Path, *, masks: bool) -> CocoReader:
        """What reads the file."""
        return _Reader(path, masks=masks)


class _Reader(CocoReader):
    """As COCO's, and two lists of categories per image."""

    def __init__(self, path: Path, *, masks: bool) -> None:
        super().__init__(path, masks=masks)
        self.absent, self.partial = _Lists(), _Lists()
        self.frequencies: dict[str, str] = {}

    def image(self, number: int, record: Any) -> None:
        super().image(number, record)
        where = f"{self.path}: images[{number}]"
        for key, lists in (
            ("neg_category_ids", self.absent),
            ("not_exhaustive_category_ids", self.partial),
        ):
            ids = record.get(key)
            if not isinstance(ids, list):
                raise DataError(f"{where}: expected a list of category ids in '{key}', got {ids!r:.80}")
            codes = self.category_codes
            lists.add([codes.setdefault(checked_id(id, where), len(codes)) for id in ids])

    def category(self, number: int, record: Any) -> None:
        super().category(number, record)
        if record.get("frequency") not in FREQUENCIES:
            raise DataError(
                f"{self.path}: categories[{number}]: expected r, c or f in 'frequency', got "
                f"{record.get('frequency')!r:.80}"
            )
        self.frequencies[record["name"]] = record["frequency"]

    def read(self, wanted: tuple[str, ...] | None, report: Report) -> tuple[tuple[str, ...], Annotations]:
        names, table = super().read(wanted, report)
        labels = {name: label for label, name in enumerate(names)}
        if unknown := [id for id in self.category_codes if id not in self.categories]:
            raise DataError(f"{self.path}: images refer to the category id {unknown[0]!r}, which isn't there")
        by_code = np.array([labels.get(self.categories[id], -1) for id in self.category_codes], np.int32)
        return names, replace(table, absent=self.absent.rows(by_code), partial=self.partial.rows(by_code))

    def groups(self, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        return {
            frequency: tuple(i for i, name in enumerate(names) if self.frequencies[name] == frequency)
            for frequency in FREQUENCIES
        }


class _Lists:
    """One list of codes per image, in machine numbers."""

    def __init__(self) -> None:
        self.codes, self.lengths = array("i"), array("i")

    def add(self, codes: list[int]) -> None:
        self.codes.extend(codes)
        self.lengths.append(len(codes))

    def rows(self, labels: np.ndarray) -> Ragged:
        """The labels (C,) of the codes; negative ones are left out."""
        found = labels[np.array(self.codes, np.int64)]
        owner = np.repeat(np.arange(len(self.lengths)), np.array(self.lengths, np.int64))[found >= 0]
        lengths = np.bincount(owner, minlength=len(self.lengths))
        return Ragged(torch.from_numpy(found[found >= 0]), starts_of(lengths))
