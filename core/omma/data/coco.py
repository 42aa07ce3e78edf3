"""Reads COCO's form of annotations (Lin et al., 2014; https://cocodataset.org/#format-data)."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omma.data.annotations import Annotations, Report
from omma.data.classes import match_classes
from omma.data.columns import ImageColumns, ObjectColumns, build_annotations, require_images
from omma.data.json_records import read_records
from omma.data.paths import inside, is_text
from omma.errors import DataError

# By type: JSON has no subclasses, and a bool is neither a number nor an id.
_NUMBERS = frozenset((int, float))
_IDS = frozenset((int, str))
_ANNOTATION_KEYS = ("image_id", "category_id", "bbox")


class CocoReader:
    """One pass over a file. Ids become codes as they are met, since the lists come in any order.

    Args:
        path: the file.
        masks: read the segmentations; objects without one are dropped.
        keypoints: keep what ``keypoints`` finds of each object.
        cut: clip boxes at the border of their image.
        filled: share of its box that an object without an annotated area covers.
    """

    def __init__(
        self, path: Path, *, masks: bool, keypoints: bool = False, cut: bool = True, filled: float = 1.0
    ) -> None:
        self.path, self.masks, self.cut, self.filled = path, masks, cut, filled
        self.images = ImageColumns()
        self.objects = ObjectColumns(segmentations=masks, keypoints=keypoints)
        self.image_codes: dict[int | str, int] = {}
        self.image_rows = array("i")  # code -> row in images, -1 until the image was met
        self.category_codes: dict[int | str, int] = {}
        self.categories: dict[int | str, str] = {}
        self.names_seen: set[str] = set()

    def read(self, wanted: tuple[str, ...] | None, report: Report) -> tuple[tuple[str, ...], Annotations]:
        """Names of the classes in label order, and the annotations.

        Raises:
            DataError: the file isn't what it should be; the message has the place.
        """
        handlers = {"images": self.image, "annotations": self.annotation, "categories": self.category}
        keys = read_records(self.path, handlers)
        if missing := [key for key in handlers if key not in keys]:
            raise DataError(
                f"{self.path}: expected a COCO instances file with {', '.join(handlers)}; it has no "
                f"{' and no '.join(missing)} (its keys: {', '.join(sorted(keys)) or 'none'})"
            )
        require_images(self.images, str(self.path))
        names = self.names(wanted)
        self.resolve(names, report)
        table = build_annotations(
            self.images, self.objects, report, place=self.place, masks_only=self.masks, cut=self.cut
        )
        return names, table

    def place(self, number: int) -> str:
        """Where an annotation stands."""
        annotation = self.objects.id[number]
        return f"{self.path}: annotations[{number}]" + (f" (id {annotation})" if annotation >= 0 else "")

    def image(self, number: int, record: Any) -> None:
        """Take an entry of ``images``."""
        where = f"{self.path}: images[{number}]"
        _require(record, ("id", "height", "width"), where)
        code = self.image_code(checked_id(record["id"], where))
        if self.image_rows[code] >= 0:
            raise DataError(
                f"{where}: the image id {record['id']!r} stands at images[{self.image_rows[code]}] too"
            )
        name, height, width = _file_name(record), record["height"], record["width"]
        if not isinstance(name, str):
            raise DataError(f"{where}: expected text in 'file_name', got {name!r:.80}")
        if not all(_is_number(side) and 0 < side < 2**31 and side == int(side) for side in (height, width)):
            raise DataError(
                f"{where}: expected a height and width in pixels, got {height!r:.40} and {width!r:.40}"
            )
        self.image_rows[code] = len(self.images)
        self.images.add(inside(name, where), record["id"], int(height), int(width))

    def category(self, number: int, record: Any) -> None:
        """Take an entry of ``categories``."""
        where = f"{self.path}: categories[{number}]"
        _require(record, ("id", "name"), where)
        id, name = checked_id(record["id"], where), record["name"]
        if not isinstance(name, str) or not is_text(name):
            raise DataError(f"{where}: expected text in 'name', got {name!r:.80}")
        if id in self.categories:
            raise DataError(f"{where}: the category id {id!r} is that of '{self.categories[id]}' too")
        if name in self.names_seen:
            raise DataError(
                f"{where}: there are two categories called '{name}'; classes are told apart by name"
            )
        self.categories[id] = name
        self.names_seen.add(name)

    def annotation(self, number: int, record: Any) -> None:
        """Take an entry of ``annotations``."""
        where = f"{self.path}: annotations[{number}]"
        _require(record, _ANNOTATION_KEYS, where)
        image = self.image_code(checked_id(record["image_id"], where))
        category = checked_id(record["category_id"], where)
        box = record["bbox"]
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            raise DataError(f"{where}: expected 'bbox': [x, y, width, height] in pixels, got {box!r:.80}")
        area, crowd, own = record.get("area", math.nan), record.get("iscrowd", 0), record.get("id")
        if not _is_number(area):
            raise DataError(f"{where}: expected a number in 'area', got {area!r:.80}")
        if crowd not in (0, 1):
            raise DataError(f"{where}: expected 0 or 1 in 'iscrowd', got {crowd!r:.80}")
        x, y, width, height = box
        if self.filled != 1 and math.isnan(area):
            area = self.filled * width * height
        try:
            self.objects.add(
                image,
                self.category_codes.setdefault(category, len(self.category_codes)),
                (x, y, x + width, y + height),
                crowd=bool(crowd),
                area=area,
                id=own if isinstance(own, int) and 0 <= own < 2**63 else -1,
                segmentation=record.get("segmentation") if self.masks else None,
                keypoints=self.keypoints(record, where),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{where}: {error}") from None

    def keypoints(self, record: Any, where: str) -> Sequence[float]:
        """x, y and visibility of the key points of an entry of ``annotations``, where they are read."""
        return ()

    def image_code(self, id: int | str) -> int:
        """The number that stands for an image's id."""
        code = self.image_codes.setdefault(id, len(self.image_codes))
        if code == len(self.image_rows):
            self.image_rows.append(-1)
        return code

    def names(self, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
        """The classes in label order."""
        if not self.categories:
            raise DataError(f"{self.path}: expected at least one category, 'categories' is empty")
        found = [
            self.categories[id] for id in sorted(self.categories, key=lambda id: (isinstance(id, str), id))
        ]
        if wanted is None:
            return tuple(found)
        match_classes(wanted, found, str(self.path), all_needed=True)
        return wanted

    def groups(self, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        """Labels that are also judged apart, by what they are called."""
        return {}

    def resolve(self, names: tuple[str, ...], report: Report) -> None:
        """Turn the codes of ids into rows of images and labels."""
        objects = self.objects
        if not len(objects):
            return
        owner = np.frombuffer(self.image_rows, np.int32)[np.frombuffer(objects.image, np.int32)]
        if len(bad := np.flatnonzero(owner < 0)):
            id = list(self.image_codes)[objects.image[int(bad[0])]]
            raise DataError(
                f"{self.place(int(bad[0]))}: no image has the id {id!r} ({len(bad)} such annotations); do "
                "'images' and 'annotations' belong to the same split?"
            )
        labels = {name: label for label, name in enumerate(names)}
        by_code = np.array(
            [labels.get(self.categories.get(id, ""), -1) for id in self.category_codes], np.int32
        )
        known = np.array([id in self.categories for id in self.category_codes])
        codes = np.frombuffer(objects.label, np.int32)
        if len(bad := np.flatnonzero(~known[codes])):
            id = list(self.category_codes)[codes[bad[0]]]
            raise DataError(
                f"{self.place(int(bad[0]))}: no category has the id {id!r} ({len(bad)} such annotations); "
                f"there are {', '.join(f'{id} {name}' for id, name in list(self.categories.items())[:20])}"
            )
        left_out = np.flatnonzero(by_code[codes] < 0)
        if len(left_out):
            report.note(
                "objects left out: a category not asked for", self.place(int(left_out[0])), len(left_out)
            )
        ids = np.frombuffer(objects.id, np.int64)
        repeated = len(ids) - len(np.unique(ids[ids >= 0])) - int((ids < 0).sum())
        report.note("annotations that share an id with another; all are kept", str(self.path), repeated)
        objects.image, objects.label = array("i", owner.tobytes()), array("i", by_code[codes].tobytes())


def _require(record: Any, keys: tuple[str, ...], where: str) -> None:
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected an object with {', '.join(keys)}, got {record!r:.80}")
    if missing := [key for key in keys if key not in record]:
        raise DataError(
            f"{where}: there is no {', '.join(map(repr, missing))}; it has {', '.join(record) or 'nothing'}"
        )


def checked_id(value: Any, where: str) -> int | str:
    """An id as it is.

    Raises:
        DataError: it is neither a number nor text.
    """
    if type(value) not in _IDS or (isinstance(value, str) and not is_text(value)):
        raise DataError(f"{where}: expected a number or text as an id, got {value!r:.80}")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS


def _file_name(record: Any) -> Any:
    """An image's ``file_name``; LVIS has ``coco_url`` instead, whose end is COCO's folder and file."""
    if "file_name" not in record and isinstance(url := record.get("coco_url"), str):
        return "/".join(url.split("/")[-2:])
    return record.get("file_name")
