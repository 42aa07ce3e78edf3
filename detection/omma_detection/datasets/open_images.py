"""Open Images (Kuznetsova et al., The Open Images Dataset V4, IJCV 2020)."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from omma.data.annotations import Annotations, Ragged, Report, starts_of
from omma.data.classes import match_classes
from omma.data.columns import ObjectColumns, build_annotations, require_images
from omma.data.paths import inside, under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma.structures import DataInfo
from omma_detection.datasets.base import DetectionDataset, OnError
from omma_detection.datasets.classes import class_list
from omma_detection.datasets.hierarchy import Hierarchy, read_hierarchy
from omma_detection.datasets.on_disk import ImagesOnDisk

_CORNERS = ("XMin", "YMin", "XMax", "YMax")
_FARTHEST = 2.0
"""A relative coordinate beyond this was written in pixels."""


@register
class OpenImagesDetection(DetectionDataset):
    """Images and Open Images' CSV files, those of the challenges too.

    Boxes are relative to the image's size. The data set has the images that the files name.

    Not all classes are annotated in all images: with ``image_labels``, ``absent`` of a target are the labels
    verified by people of which there is no box. What is verified of a class holds as well for the wider ones
    if it is there, and for the narrower ones if it isn't.

    Args:
        annotations: boxes, with the columns ImageID, LabelName, XMin, XMax, YMin, YMax and mostly IsGroupOf.
        images: folder of the images, called ``ImageID.jpg``.
        descriptions: the classes, LabelName and name, in label order.
        root: folder that all paths are relative to.
        hierarchy: JSON file of wider and narrower classes; null: there are none.
        image_labels: verified classes of whole images, with the columns ImageID, LabelName and Confidence.
        sizes: ImageID, Height and Width in pixels; null: they are read from all images at once.
        classes: names in label order; null: all of ``descriptions``. Objects of others are left out.
        groups: boxes around more than five objects (IsGroupOf) are ``ignored``, or learnt as ``objects``.
        transforms: applied to each sample.
        drop_empty: leave out images without objects.
        on_error: what happens when an image can't be read; without ``sizes`` it is left out at once.

    Raises:
        DataError: a file is missing, or a line isn't of this form; the message has its number.
    """

    def __init__(
        self,
        *,
        annotations: str,
        images: str,
        descriptions: str,
        root: str | None = None,
        hierarchy: str | None = None,
        image_labels: str | None = None,
        sizes: str | None = None,
        classes: tuple[str, ...] | str | None = None,
        groups: Literal["ignored", "objects"] = "ignored",
        transforms: tuple[AnyTransform, ...] = (),
        drop_empty: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        report, folder = Report(), under(root, images)
        codes = _descriptions(under(root, descriptions))
        wanted = class_list(classes)
        if wanted:
            match_classes(wanted, list(codes.values()), str(under(root, descriptions)), all_needed=True)
        names = wanted or tuple(codes.values())
        labels = {code: names.index(name) if name in names else -1 for code, name in codes.items()}
        tree = read_hierarchy(under(root, hierarchy), labels) if hierarchy else Hierarchy({}, {})
        known = _sizes(under(root, sizes)) if sizes else None
        pictures = ImagesOnDisk(folder, report, skip=on_error == "skip")
        reader = _Reader(pictures, labels, known, report)
        reader.boxes(under(root, annotations), ignore=groups == "ignored")
        if image_labels:
            reader.verified(under(root, image_labels), tree)
        require_images(pictures, str(under(root, annotations)))
        table = build_annotations(pictures, reader.objects, report, place=reader.place)
        if image_labels:
            table = _with_absent(table, reader.judged, len(names), tree)
        super().__init__(
            table,
            folder=folder,
            classes=names,
            report=report,
            transforms=transforms,
            masks=False,
            drop_empty=drop_empty,
            on_error=on_error,
        )
        self.info = DataInfo(names, ancestors=tree.ancestors)


class _Reader:
    """Collects boxes, and which classes were verified in which image."""

    def __init__(
        self,
        images: ImagesOnDisk,
        labels: dict[str, int],
        sizes: dict[str, tuple[int, int]] | None,
        report: Report,
    ) -> None:
        self.images, self.labels, self.sizes, self.report = images, labels, sizes, report
        self.objects = ObjectColumns(segmentations=False)
        self.rows: dict[str, int] = {}
        self.pixels: list[tuple[int, int]] = []  # of the images, by row
        self.judged = (array("i"), array("i"))  # image and label
        self.path = Path()

    def place(self, number: int) -> str:
        # The annotation's id is its line.
        return f"{self.path}:{self.objects.id[number]}"

    def boxes(self, path: Path, *, ignore: bool) -> None:
        self.path = path
        for line, (id, code, *corners), group in _rows(
            path, ("ImageID", "LabelName", *_CORNERS), "IsGroupOf"
        ):
            where = f"{path}:{line}"
            row, label = self.image(id, where), self.label(code, where)
            if row < 0:
                continue
            try:
                x1, y1, x2, y2 = map(float, corners)
            except ValueError:
                raise DataError(f"{where}: expected numbers, got {', '.join(corners):.80}") from None
            if any(_FARTHEST < abs(value) < np.inf for value in (x1, y1, x2, y2)):
                raise DataError(
                    f"{where}: expected coordinates relative to the image's size, 0 to 1, got "
                    f"{', '.join(corners):.80}"
                )
            # -1: unknown, in the few boxes that were drawn otherwise.
            if group not in ("0", "1", "-1", ""):
                raise DataError(f"{where}: expected 0 or 1 in IsGroupOf, got {group!r:.40}")
            height, width = self.pixels[row]
            box = (x1 * width, y1 * height, x2 * width, y2 * height)
            self.objects.add(row, label, box, crowd=ignore and group == "1", id=line)

    def verified(self, path: Path, tree: Hierarchy) -> None:
        for line, (id, code, confidence), _ in _rows(path, ("ImageID", "LabelName", "Confidence")):
            where = f"{path}:{line}"
            if confidence not in ("0", "1", "0.0", "1.0"):
                raise DataError(
                    f"{where}: expected 0 or 1 in Confidence, got {confidence!r:.40}; take the labels that "
                    "people verified"
                )
            row, label = self.image(id, where), self.labels.get(code, -1)
            if row < 0 or label < 0:
                continue
            others = tree.descendants if float(confidence) == 0 else tree.ancestors
            reached = (label, *others.get(label, ()))
            self.judged[0].extend([row] * len(reached))
            self.judged[1].extend(reached)

    def image(self, id: str, where: str) -> int:
        """Row of an image, which is new if no line named it before; -1 if it was left out."""
        if id in self.rows:
            return self.rows[id]
        row, path = len(self.images), inside(f"{id}.jpg", where)
        if self.sizes is None:
            size = self.images.add_file(path, id)
        elif (size := self.sizes.get(id)) is None:
            raise DataError(f"{where}: the file of sizes has no image '{id}'")
        else:
            self.images.add(path, id, *size)
        self.rows[id] = -1 if size is None else row
        self.pixels += [] if size is None else [size]
        return self.rows[id]

    def label(self, code: str, where: str) -> int:
        label = self.labels.get(code, -1)
        if label < 0:
            self.report.note("objects left out: a class not asked for", where)
        return label


def _with_absent(
    table: Annotations, judged: tuple[array[int], array[int]], classes: int, tree: Hierarchy
) -> Annotations:
    """The annotations with the labels that were verified in an image and have no box there."""
    lengths = (table.starts[1:] - table.starts[:-1]).numpy()
    owner, labels = np.repeat(np.arange(len(table)), lengths), table.labels.numpy().astype(np.int64)
    boxed = [owner * classes + labels]
    for label, wider in tree.ancestors.items():
        boxed += [owner[labels == label] * classes + other for other in wider]
    images, verified = (np.array(column, dtype=np.int64) for column in judged)
    cells = np.setdiff1d(images * classes + verified, np.concatenate(boxed))
    values = torch.from_numpy((cells % classes).astype(np.int32))
    absent = Ragged(values, starts_of(np.bincount(cells // classes, minlength=len(table))))
    none = Ragged(torch.zeros(0, dtype=torch.int32), torch.zeros(len(table) + 1, dtype=torch.int64))
    return replace(table, absent=absent, partial=none)


def _rows(path: Path, names: tuple[str, ...], extra: str = "") -> Iterator[tuple[int, list[str], str]]:
    """Line number, the columns ``names`` and the column ``extra`` (empty if there is none) of each line."""
    lines = _csv(path)
    _, header = next(lines, (1, []))
    if missing := [name for name in names if name not in header]:
        raise DataError(
            f"{path}:1: expected a header with {', '.join(names)}; there is no {', '.join(missing)}"
        )
    places = [header.index(name) for name in names]
    last = header.index(extra) if extra in header else -1
    for line, row in lines:
        if len(row) != len(header):
            raise DataError(f"{path}:{line}: expected {len(header)} columns as in line 1, got {len(row)}")
        yield line, [row[place] for place in places], row[last] if last >= 0 else ""


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and columns of each line that isn't empty."""
    line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                line = reader.line_num
                if row:
                    yield line, row
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}:{line + 1}: expected text, found bytes that are no UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}:{line + 1}: expected comma-separated columns: {error}") from None


def _descriptions(path: Path) -> dict[str, str]:
    """LabelName -> name, in the order of the file."""
    names: dict[str, str] = {}
    seen: set[str] = set()
    for line, row in _csv(path):
        if row == ["LabelName", "DisplayName"]:
            continue
        # The challenge's lists may number the classes in a third column.
        if len(row) < 2:
            raise DataError(f"{path}:{line}: expected 'LabelName,name', got {','.join(row)!r:.80}")
        code, name = row[:2]
        if code in names or name in seen:
            raise DataError(f"{path}:{line}: the class {code} '{name}' stands on a line before, too")
        names[code] = name
        seen.add(name)
    if not names:
        raise DataError(f"{path}: expected at least one class, found none")
    return names


def _sizes(path: Path) -> dict[str, tuple[int, int]]:
    """ImageID -> height and width."""
    sizes = {}
    for line, (id, *sides), _ in _rows(path, ("ImageID", "Height", "Width")):
        if not all(side.isascii() and side.isdecimal() and 0 < len(side) < 6 and int(side) for side in sides):
            raise DataError(f"{path}:{line}: expected pixels in Height and Width, got {', '.join(sides):.80}")
        sizes[id] = (int(sides[0]), int(sides[1]))
    return sizes
