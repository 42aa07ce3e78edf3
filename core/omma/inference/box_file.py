"""Boxes from a file in place of a detector, as the first stage of a chain."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch

from omma.data.annotations import Report
from omma.data.coco import CocoReader
from omma.data.json_records import read_records
from omma.errors import DataError
from omma.inference.results import Seen
from omma.inference.sources import Frame, FrameSource, Source, open_source
from omma.structures import DataInfo, Prediction
from omma.structures.select import above


class BoxFile:
    """Finds in each image the boxes that a file has for it.

    The file is what ``omma predict`` wrote with a detector (``predictions.json``), or has annotations in
    COCO's form, whose objects count as found for sure; crowds are left out. An image and its entry need not
    lie in the same folder: of the entries with the image's name, the one with most folders in common counts.

    Args:
        path: the file.
        score_threshold: boxes under it are left out, in 0..1.

    Raises:
        DataError: the file is no such file.
        ValueError: the threshold is out of its range.
    """

    def __init__(self, path: str | Path, *, score_threshold: float = 0.0) -> None:
        if not 0 <= score_threshold <= 1:
            raise ValueError(f"score_threshold: expected a number in 0..1, got {score_threshold}")
        self.path, self.score_threshold = Path(path), score_threshold
        classes, entries = _read(self.path)
        self.info = DataInfo(classes)
        self._named: dict[str, dict[tuple[str, ...], dict[int | None, _Entry]]] = {}
        for (file, number), entry in entries.items():
            parts = PurePath(file).parts
            self._named.setdefault(parts[-1], {}).setdefault(parts, {})[number] = entry

    def __call__(self, source: Source | FrameSource) -> Iterator[Seen]:
        """The boxes of all images that ``source`` holds, in order.

        Raises:
            DataError: the file says nothing of an image; see ``find``.
        """
        for frame in open_source(source):
            yield Seen(frame, above(self.find(frame), self.score_threshold), self.info)

    def find(self, frame: Frame) -> Prediction:
        """All boxes in an image or a frame of a video.

        Raises:
            DataError: the file says nothing of it, or of several images that may be meant, or of an image of
                another size.
        """
        parts = PurePath(frame.path).parts
        files = self._named.get(parts[-1], {})
        common = {file: _common_end(file, parts) for file in files}
        best = [file for file in files if common[file] == max(common.values())]
        if len(best) > 1:
            raise DataError(
                f"{self.path}: several entries may mean {frame.path}: "
                f"{', '.join(str(PurePath(*file)) for file in best[:5])}"
            )
        if not best or frame.number not in files[best[0]]:
            what = frame.path if frame.number is None else f"frame {frame.number} of {frame.path}"
            raise DataError(
                f"{self.path}: says nothing of {what}; it knows of {len(self._named)} files, such as "
                f"{next(iter(self._named), 'none')}"
            )
        entry = files[best[0]][frame.number]
        height, width = frame.image.shape[:2]
        if entry.size != (height, width):
            raise DataError(
                f"{self.path}: its boxes in {frame.path} are those of {entry.size[1]} x {entry.size[0]} "
                f"pixels, but there are {width} x {height}; was the image scaled or turned?"
            )
        return entry.prediction


@dataclass(frozen=True)
class _Entry:
    """What a file has for one image."""

    prediction: Prediction
    size: tuple[int, int]
    """(height, width) of the image."""


Entries = dict[tuple[str, int | None], _Entry]
"""By path and, in videos, number of the frame."""


def _read(path: Path) -> tuple[tuple[str, ...], Entries]:
    images: list[Any] = []
    classes: list[Any] = []
    keys = read_records(
        path,
        {
            "images": lambda _, record: images.append(record),
            "classes": lambda _, record: classes.append(record),
        },
    )
    if "annotations" in keys:
        return _annotated(path)
    if not {"images", "classes"} <= keys:
        raise DataError(
            f"{path}: expected the predictions.json of a detector, or annotations in COCO's form; "
            f"its keys are {', '.join(sorted(keys)) or 'none'}"
        )
    if not all(isinstance(name, str) for name in classes):
        raise DataError(f"{path}: expected names in 'classes'")
    found: Entries = {}
    for number, image in enumerate(images):
        where = f"{path}: images[{number}]"
        record: Any = image if isinstance(image, Mapping) else {}
        file, frame, height, width = (record.get(key) for key in ("path", "frame", "height", "width"))
        numbers = (height, width, 0 if frame is None else frame)
        if not isinstance(file, str) or not file or any(type(each) is not int for each in numbers):
            raise DataError(f"{where}: expected the 'path', 'width' and 'height' of an image or frame")
        prediction = _predicted(record.get("prediction"), len(classes), where)
        found[file, frame] = _Entry(prediction, (height, width))
    return tuple(classes), found


def _predicted(records: Any, classes: int, where: str) -> Prediction:
    """The boxes of one image of a ``predictions.json``."""
    rows = [_row(record, classes) for record in records] if isinstance(records, list) else [None]
    if None in rows:
        raise DataError(
            f"{where}: expected objects with 'box' [x1, y1, x2, y2], 'score' and the 'label' of a class in "
            "'prediction'; was it a detector that predicted them?"
        )
    table = torch.tensor([row for row in rows if row is not None], dtype=torch.float64).reshape(-1, 6)
    return {"boxes": table[:, :4].float(), "scores": table[:, 4].float(), "labels": table[:, 5].long()}


def _row(record: Any, classes: int) -> list[float] | None:
    """x1, y1, x2, y2, score and label of a well-formed record."""
    box = record.get("box") if isinstance(record, Mapping) else None
    if not isinstance(box, list) or len(box) != 4:
        return None
    row = [*box, record.get("score"), record.get("label")]
    if not all(type(value) in (int, float) and math.isfinite(value) for value in row):
        return None
    return row if type(row[5]) is int and 0 <= row[5] < classes else None


def _annotated(path: Path) -> tuple[tuple[str, ...], Entries]:
    names, table = CocoReader(path, masks=False).read(None, Report())
    found: Entries = {}
    for i in range(len(table)):
        rows = table.rows(i)
        keep = ~table.crowd[rows]
        boxes, labels = table.boxes[rows][keep], table.labels[rows][keep].long()
        prediction: Prediction = {"boxes": boxes, "scores": torch.ones(len(boxes)), "labels": labels}
        found[table.path(i), None] = _Entry(prediction, table.size(i))
    return names, found


def _common_end(a: Sequence[str], b: Sequence[str]) -> int:
    """How many parts at their end two paths share."""
    count = 0
    for one, other in zip(reversed(a), reversed(b)):
        if one != other:
            break
        count += 1
    return count
