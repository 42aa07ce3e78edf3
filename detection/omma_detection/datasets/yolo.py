"""Folders of images beside folders of text files with boxes relative to the image's size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from omma.config.source import ConfigError, Source
from omma.data.annotations import Report
from omma.data.classes import match_classes
from omma.data.columns import ObjectColumns, build_annotations, require_images
from omma.data.lines import read_lines
from omma.data.paths import inside
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_detection.datasets.base import DetectionDataset, OnError
from omma_detection.datasets.classes import class_list
from omma_detection.datasets.on_disk import ImagesOnDisk

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_FARTHEST = 2.0
"""A relative coordinate beyond this was written in pixels."""


@register
class YoloDetection(DetectionDataset):
    """``root/images/SPLIT/**`` and, for each image, ``root/labels/SPLIT/**.txt``.

    A line is ``class cx cy w h`` or an outline ``class x1 y1 x2 y2 x3 y3 ...``, with x relative to the width
    of the image and y to its height. An image without a text file has no objects. Class numbers count the
    names in ``data.yaml`` (``names``: a list or a mapping from numbers) or the lines of ``classes.txt``,
    both in ``root``.

    Args:
        root: the folder.
        split: subfolder of both; empty if there is none.
        classes: names in label order, a known list ('coco', 'voc'), or null: all of the file. Objects of
            other classes are left out.
        transforms: applied to each sample.
        masks: keep outlines; objects given as boxes are dropped then.
        drop_empty: leave out images without objects.
        on_error: what happens when an image can't be read. Sizes are read from all images at once, and
            those that can't be read are left out then.

    Raises:
        DataError: a file is missing or broken, a line isn't of this form, or a class has no name.
    """

    def __init__(
        self,
        *,
        root: str,
        split: str = "train",
        classes: tuple[str, ...] | str | None = None,
        transforms: tuple[AnyTransform, ...] = (),
        masks: bool = False,
        drop_empty: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        folder, report = Path(root), Report()
        wanted = class_list(classes)
        if split:
            inside(split, "split")
        found = class_names(folder)
        if wanted:
            match_classes(wanted, found, str(folder), all_needed=True)
        names = wanted or found
        labels = [names.index(name) if name in names else -1 for name in found]
        pictures = ImagesOnDisk(folder / "images" / split, report, skip=on_error == "skip")
        reader = _Reader(pictures, folder / "labels" / split, labels, report, masks=masks)
        reader.read()
        require_images(pictures, str(pictures.folder))
        table = build_annotations(
            pictures, reader.objects, report, place=lambda i: reader.places[i], masks_only=masks
        )
        super().__init__(
            table,
            folder=pictures.folder,
            classes=names,
            report=report,
            transforms=transforms,
            masks=masks,
            drop_empty=drop_empty,
            on_error=on_error,
        )


class _Reader:
    """Collects a split image by image, in the order of their names."""

    def __init__(
        self, images: ImagesOnDisk, texts: Path, labels: list[int], report: Report, *, masks: bool
    ) -> None:
        self.images, self.texts, self.labels, self.report = images, texts, labels, report
        self.objects = ObjectColumns(segmentations=masks)
        self.masks = masks
        self.places: list[str] = []

    def read(self) -> None:
        folder = self.images.folder
        if not folder.is_dir():
            raise DataError(f"{folder}: expected a folder of images, found none")
        if not self.texts.is_dir():
            raise DataError(f"{self.texts}: expected a folder of text files with boxes, found none")
        for path in sorted(file for file in folder.rglob("*") if file.suffix.lower() in _ENDINGS):
            self.image(path.relative_to(folder))

    def image(self, name: Path) -> None:
        row = len(self.images)
        size = self.images.add_file(name.as_posix(), name.with_suffix("").as_posix())
        if size is None:
            return
        text = (self.texts / name).with_suffix(".txt")
        if not text.exists():
            self.report.note("images without a text file; they count as empty", str(text))
            return
        for number, line in enumerate(read_lines(text), 1):
            if line.strip():
                self.object(row, line.split(), size, f"{text}:{number}")

    def object(self, image: int, words: list[str], size: tuple[int, int], where: str) -> None:
        if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
            raise DataError(
                f"{where}: expected 'class cx cy w h' or 'class x1 y1 x2 y2 x3 y3 ...', got "
                f"{len(words)} words"
            )
        try:
            number, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            raise DataError(
                f"{where}: expected numbers, a whole one first, got {' '.join(words)!r:.80}"
            ) from None
        if not 0 <= number < len(self.labels):
            raise DataError(
                f"{where}: there is no class {number}; the names go from 0 to {len(self.labels) - 1}"
            )
        if far := [value for value in values if abs(value) > _FARTHEST and abs(value) != float("inf")]:
            raise DataError(
                f"{where}: expected coordinates relative to the image's size, 0 to 1, got {far[0]:g}"
            )
        if self.labels[number] < 0:
            self.report.note("objects left out: a class not asked for", where)
        height, width = size
        pixels = [value * (height if i % 2 else width) for i, value in enumerate(values)]
        outline = pixels if len(words) > 5 else None
        self.objects.add(
            image,
            self.labels[number],
            _around(pixels) if outline else _from_center(pixels),
            segmentation=[outline] if outline and self.masks else None,
        )
        self.places.append(where)


def class_names(folder: Path) -> tuple[str, ...]:
    """Names of the classes in label order, from ``data.yaml`` or ``classes.txt``.

    Raises:
        DataError: neither is there, or it isn't of the expected form.
    """
    for name in ("data.yaml", "data.yml"):
        if (folder / name).exists():
            return _names_from_yaml(folder / name)
    if not (folder / "classes.txt").exists():
        raise DataError(
            f"{folder}: expected the names of the classes in data.yaml or classes.txt, found neither"
        )
    names = tuple(line.strip() for line in read_lines(folder / "classes.txt") if line.strip())
    return _checked(names, folder / "classes.txt")


def _names_from_yaml(path: Path) -> tuple[str, ...]:
    # As a config is read: nothing expands or runs, and a class called 'no' stays one.
    source = Source(str(path))
    try:
        content: Any = source.read("\n".join(read_lines(path)))
    except ConfigError as error:
        raise DataError(str(error.problems[0])) from None
    if source.problems:
        raise DataError(str(source.problems[0]))
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        if set(names) != {str(number) for number in range(len(names))}:
            raise DataError(
                f"{path}: expected 'names' to number the classes 0, 1, 2, ..., got {list(names)!r:.80}"
            )
        names = [names[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or any(isinstance(name, dict | list) for name in names):
        raise DataError(f"{path}: expected 'names', a list or a mapping from numbers, got {names!r:.80}")
    return _checked(tuple(map(str, names)), path)


def _checked(names: tuple[str, ...], path: Path) -> tuple[str, ...]:
    if not names:
        raise DataError(f"{path}: expected at least one class name, found none")
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise DataError(f"{path}: expected each class once, got {', '.join(twice)} more than once")
    return names


def _from_center(values: list[float]) -> tuple[float, float, float, float]:
    x, y, width, height = values
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _around(points: list[float]) -> tuple[float, float, float, float]:
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
