"""Pascal VOC's folders (Everingham et al., 2010)."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from omma.data.annotations import Report
from omma.data.classes import match_classes
from omma.data.columns import ImageColumns, ObjectColumns, build_annotations, require_images
from omma.data.paths import inside
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_detection.datasets.base import DetectionDataset, OnError
from omma_detection.datasets.classes import class_list


@register
class VocDetection(DetectionDataset):
    """A folder with ``Annotations/*.xml``, ``JPEGImages`` and ``ImageSets/Main/*.txt``.

    VOC counts pixels from 1 and includes both corners: pixels xmin to xmax are covered from xmin - 1 to xmax
    in our frame, so 1 is taken from the first corner only. Where both corners coincide, the box was a slip
    and is dropped. Objects marked ``difficult`` are ignored in training and count neither way in evaluation.

    Args:
        root: the folder.
        split: name of a list in ``ImageSets/Main``, without ending.
        classes: names in label order, a known list ('coco', 'voc'), or null: all that occur anywhere in
            ``Annotations``, sorted. Objects of other classes are left out.
        transforms: applied to each sample.
        drop_empty: leave out images without objects.
        on_error: what happens when an image can't be read.

    Raises:
        DataError: a file is missing or broken, the split is empty, or none of the classes occurs.
    """

    def __init__(
        self,
        *,
        root: str,
        split: str,
        classes: tuple[str, ...] | str | None = None,
        transforms: tuple[AnyTransform, ...] = (),
        drop_empty: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        folder, report = Path(root), Report()
        wanted = class_list(classes)
        names = wanted or _all_names(folder / "Annotations")
        reader = _Reader(folder, names, report)
        listing = folder / "ImageSets" / "Main" / f"{split}.txt"
        for id in _ids(listing):
            reader.add(id)
        require_images(reader.images, str(listing))
        if wanted and reader.found:
            match_classes(wanted, sorted(reader.found), str(listing), all_needed=False)
        table = build_annotations(reader.images, reader.objects, report, place=reader.place)
        super().__init__(
            table,
            folder=folder / "JPEGImages",
            classes=names,
            report=report,
            transforms=transforms,
            masks=False,
            drop_empty=drop_empty,
            on_error=on_error,
        )


class _Reader:
    """Collects the images of a split one by one."""

    def __init__(self, root: Path, names: tuple[str, ...], report: Report) -> None:
        self.folder, self.report = root / "Annotations", report
        self.labels = {name: label for label, name in enumerate(names)}
        self.images, self.objects = ImageColumns(), ObjectColumns(segmentations=False)
        self.found: set[str] = set()
        self.files = _by_stem(root / "JPEGImages")

    def place(self, number: int) -> str:
        image = self.objects.image[number]
        path = self.folder / f"{self.images.ids[image].decode()}.xml"
        return f"{path}: object {number - self.objects.image.index(image)}"

    def add(self, id: str) -> None:
        path = self.folder / f"{id}.xml"
        tree = read_xml(path)
        size = [_number(tree, f"size/{side}", str(path)) for side in ("height", "width")]
        if not all(side >= 1 and side == int(side) for side in size):
            raise DataError(
                f"{path}: expected a size in whole pixels, got height {size[0]} and width {size[1]}"
            )
        row = len(self.images)
        self.images.add(self.files.get(id, f"{id}.jpg"), id, int(size[0]), int(size[1]))
        for number, element in enumerate(tree.findall("object")):
            self.object(row, element, f"{path}: object {number}")

    def object(self, image: int, element: Element, where: str) -> None:
        name = (element.findtext("name") or "").strip()
        if not name:
            raise DataError(f"{where}: expected a <name>, found none")
        self.found.add(name)
        if name not in self.labels:
            self.report.note("objects left out: a class not asked for", f"{where} '{name}'")
            return
        corners = [_number(element, f"bndbox/{side}", where) for side in ("xmin", "ymin", "xmax", "ymax")]
        x1, y1, x2, y2 = corners
        difficult = (element.findtext("difficult") or "0").strip()
        if difficult not in ("0", "1"):
            raise DataError(f"{where}: expected 0 or 1 in <difficult>, got {difficult!r:.40}")
        # A box whose corners coincide becomes one without area, which is dropped later.
        box = (x1 - 1 if x2 > x1 else x2, y1 - 1 if y2 > y1 else y2, x2, y2)
        self.objects.add(image, self.labels[name], box, crowd=difficult == "1")


def read_xml(path: Path) -> Element:
    """The root element of an annotation file.

    Raises:
        DataError: the file can't be read, isn't XML, or declares a document type: entities can blow up memory
            and read other files, and no annotation needs them.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: Any) -> None:
        raise DataError(
            f"{path}:{parser.CurrentLineNumber}: a document type declaration is refused; remove it"
        )

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        reason = expat.errors.messages[error.code]
        raise DataError(f"{path}:{error.lineno}:{error.offset + 1}: not valid XML: {reason}") from None
    except (LookupError, ValueError) as error:  # of the encoding that the file names
        raise DataError(f"{path}: not valid XML: {error}") from None
    return builder.close()


def _number(element: Element, path: str, where: str) -> float:
    text = element.findtext(path)
    try:
        value = float(text) if text is not None else None
    except ValueError:
        value = None
    # Infinite and NaN corners of boxes are dropped with the other degenerate ones; a size must be a number.
    if value is None or (path.startswith("size") and not math.isfinite(value)):
        raise DataError(f"{where}: expected a number in <{path}>, got {text!r:.40}")
    return value


def _ids(listing: Path) -> list[str]:
    """First words of a split's lines; class-wise lists have a flag behind it."""
    try:
        lines = listing.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in listing.parent.glob("*.txt"))) or "none"
        raise DataError(f"{listing}: can't be read: {error.strerror}; splits there: {known}") from None
    except UnicodeDecodeError:
        raise DataError(f"{listing}: expected a list of image names, found no text") from None
    ids = [
        inside(line.split()[0], f"{listing}:{number}") for number, line in enumerate(lines, 1) if line.strip()
    ]
    if len(ids) != len(set(ids)):
        twice = next(id for position, id in enumerate(ids) if id in ids[:position])
        raise DataError(f"{listing}: the image '{twice}' is listed twice")
    return ids


def _all_names(folder: Path) -> tuple[str, ...]:
    """Classes of all splits, so that each of them numbers its labels alike."""
    files = sorted(folder.glob("*.xml"))
    elements = (element for file in files for element in read_xml(file).iterfind("object/name"))
    names = {text for element in elements if (text := (element.text or "").strip())}
    if not names:
        raise DataError(
            f"{folder}: expected annotation files with objects, found {len(files)} files without one"
        )
    return tuple(sorted(names))


def _by_stem(folder: Path) -> dict[str, str]:
    """Image name without ending -> file name."""
    try:
        return {
            Path(entry.name).stem: entry.name for entry in sorted(os.scandir(folder), key=lambda e: e.name)
        }
    except OSError as error:
        raise DataError(f"{folder}: can't be read: {error.strerror}; expected the images there") from None
