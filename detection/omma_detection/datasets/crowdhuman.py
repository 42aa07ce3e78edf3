"""CrowdHuman: people in crowds (Shao et al., 2018)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from omma.data.annotations import Report
from omma.data.columns import ObjectColumns, build_annotations, require_images
from omma.data.lines import read_lines
from omma.data.paths import inside, under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_detection.datasets.base import DetectionDataset, OnError
from omma_detection.datasets.on_disk import ImagesOnDisk

CLASSES = ("person",)
_KINDS = {"full": "fbox", "visible": "vbox", "head": "hbox"}


@register
class CrowdHumanDetection(DetectionDataset):
    """Images and an ``.odgt`` file, whose every line is one image in JSON.

    The one class is ``person``. Regions tagged ``mask`` (crowds, reflections) and people marked ``ignore``
    are neither right nor wrong to find. Boxes of whole bodies reach over the edge of the image where the
    bodies do, as models of crowds learn them.

    Args:
        annotations: the file.
        images: folder of the images, called by their ``ID``.
        root: folder that both are relative to.
        box: of the whole body, of what is visible of it, or of the head.
        cut: cut boxes at the edge of the image.
        transforms: applied to each sample.
        drop_empty: leave out images without objects.
        on_error: what happens when an image can't be read. Sizes are read from all images at once, and
            those that can't be read are left out then.

    Raises:
        DataError: a file is missing, or a line isn't of this form; the message has its number.
    """

    def __init__(
        self,
        *,
        annotations: str,
        images: str,
        root: str | None = None,
        box: Literal["full", "visible", "head"] = "full",
        cut: bool = False,
        transforms: tuple[AnyTransform, ...] = (),
        drop_empty: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        report, folder = Report(), under(root, images)
        pictures = ImagesOnDisk(folder, report, skip=on_error == "skip")
        reader = _Reader(under(root, annotations), pictures, _KINDS[box])
        reader.read()
        require_images(pictures, str(reader.path))
        table = build_annotations(pictures, reader.objects, report, place=lambda i: reader.places[i], cut=cut)
        super().__init__(
            table,
            folder=folder,
            classes=CLASSES,
            report=report,
            transforms=transforms,
            masks=False,
            drop_empty=drop_empty,
            on_error=on_error,
        )


class _Reader:
    """Collects the images line by line."""

    def __init__(self, path: Path, images: ImagesOnDisk, key: str) -> None:
        self.path, self.images, self.key = path, images, key
        self.objects = ObjectColumns(segmentations=False)
        self.places: list[str] = []
        self.seen: set[str] = set()

    def read(self) -> None:
        for number, line in enumerate(read_lines(self.path), 1):
            if line.strip():
                self.line(line, f"{self.path}:{number}")

    def line(self, text: str, where: str) -> None:
        try:
            record: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not valid JSON: {error!s:.80}") from None
        id = record.get("ID") if isinstance(record, dict) else None
        boxes = record.get("gtboxes") if isinstance(record, dict) else None
        if not isinstance(id, str) or not isinstance(boxes, list):
            raise DataError(f"{where}: expected an object with the text 'ID' and the list 'gtboxes'")
        if id in self.seen:
            raise DataError(f"{where}: the image '{id}' stands on a line before, too")
        self.seen.add(id)
        name = inside(f"{id}.jpg", where)
        row = len(self.images)
        if self.images.add_file(name, id) is None:
            return
        for number, box in enumerate(boxes):
            self.object(row, box, f"{where}: gtboxes[{number}]")

    def object(self, image: int, record: Any, where: str) -> None:
        tag = record.get("tag") if isinstance(record, dict) else None
        if tag not in ("person", "mask"):
            raise DataError(f"{where}: expected the tag 'person' or 'mask', got {tag!r:.80}")
        key = self.key if tag == "person" else "fbox"
        box, extra = record.get(key), self.extra(record, where)
        if not (isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box)):
            raise DataError(f"{where}: expected '{key}': [x, y, width, height] in pixels, got {box!r:.80}")
        try:
            x, y, width, height = map(float, box)
        except OverflowError as error:
            raise DataError(f"{where}: {error}") from None
        ignored = tag == "mask" or bool(extra.get("ignore", 0))
        self.objects.add(image, 0, (x, y, x + width, y + height), crowd=ignored)
        self.places.append(where)

    def extra(self, record: dict[str, Any], where: str) -> dict[str, Any]:
        """What is noted of the box that is read: of a head in a place of its own."""
        name = "head_attr" if self.key == "hbox" and record["tag"] == "person" else "extra"
        extra = record.get(name, {})
        if not isinstance(extra, dict):
            raise DataError(f"{where}: expected an object in '{name}', got {extra!r:.80}")
        return extra
