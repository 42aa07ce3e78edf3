"""Folders in the form that YOLO trainers use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml

from omma.data import AnnotationsBuilder, Report, image_size
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_detection.datasets.base import DetectionDataset, ObjectReader
from omma_detection.datasets.classes import resolve

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


@register
class YoloDetection(DetectionDataset):
    """Boxes or polygons from one text file per image.

    Each line is ``class cx cy w h`` or ``class x y x y x y ...`` in fractions of the image. An image without
    a text file has no objects.

    Args:
        root: folder of the data set; class names are read from its ``data.yaml`` or ``classes.txt``.
        images: folder of the images below ``root``, e.g. ``images/train``.
        labels: folder of the text files; null: as ``images`` with its first ``images`` replaced by ``labels``.
        classes: names in label order, or null: those of the file.
        transforms: applied to each sample.
        masks: give each sample its ``masks``.
        drop_empty: leave out images without objects.
        on_error: what to do with an image that can't be read.

    Raises:
        DataError: a folder or the names are missing, or a line can't be understood.
    """

    def __init__(
        self,
        *,
        root: str,
        images: str,
        labels: str | None = None,
        classes: tuple[str, ...] | str | None = None,
        transforms: tuple[AnyTransform, ...] = (),
        masks: bool = False,
        drop_empty: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        base = Path(root)
        folder = base / images
        texts = base / (images.replace("images", "labels", 1) if labels is None else labels)
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder of images")
        found = _names(base)
        names = resolve(classes, found, str(base))
        builder, report = AnnotationsBuilder(segmentations=masks), Report()
        reader = ObjectReader(builder, report)
        for file in sorted(f for f in folder.rglob("*") if f.suffix.lower() in _IMAGES):
            size = image_size(file)
            id = str(file.relative_to(folder).with_suffix(""))
            builder.image(str(file), id, *size)
            text = texts / file.relative_to(folder).with_suffix(".txt")
            if text.is_file():
                _read_labels(text, size, found, names, reader)
        super().__init__(
            annotations=builder.build(),
            classes=names,
            transforms=transforms,
            masks=masks,
            drop_empty=drop_empty,
            on_error=on_error,
            report=report,
            source=str(folder),
        )


def _names(base: Path) -> list[str]:
    """Class names in the file's order."""
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (base / name).is_file():
            try:
                data: Any = yaml.safe_load((base / name).read_text(encoding="utf-8"))
                names = data["names"]
                return (
                    [str(names[k]) for k in sorted(names)]
                    if isinstance(names, dict)
                    else [str(n) for n in names]
                )
            except (yaml.YAMLError, UnicodeError, KeyError, TypeError, RecursionError) as error:
                raise DataError(f"{base / name}: no list of class 'names' there: {error}") from None
    if (base / "classes.txt").is_file():
        lines = (base / "classes.txt").read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]
    raise DataError(f"{base}: class names are missing; expected a data.yaml with 'names' or a classes.txt")


def _read_labels(
    text: Path, size: tuple[int, int], found: list[str], names: tuple[str, ...], reader: ObjectReader
) -> None:
    height, width = size
    for number, line in enumerate(text.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            index, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            raise DataError(f"{text}:{number}: expected a class and numbers, got '{line:.60}'") from None
        if not 0 <= index < len(found):
            raise DataError(f"{text}:{number}: class {index}, but there are {len(found)} names")
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise DataError(f"{text}:{number}: expected 4 numbers or a polygon, got {len(values)} numbers")
        if found[index] not in names:
            reader.report.note("objects of other classes left out", f"{text}:{number}")
            continue
        if len(values) == 4:
            cx, cy, w, h = values
            x1, y1, x2, y2 = (
                (cx - w / 2) * width,
                (cy - h / 2) * height,
                (cx + w / 2) * width,
                (cy + h / 2) * height,
            )
            ring = [x1, y1, x2, y1, x2, y2, x1, y2]
        else:
            ring = [v * (height if i % 2 else width) for i, v in enumerate(values)]
            x1, y1, x2, y2 = min(ring[::2]), min(ring[1::2]), max(ring[::2]), max(ring[1::2])
        label = names.index(found[index])
        reader.add((x1, y1, x2, y2), label, size=size, where=f"{text}:{number}", segmentation=[ring])
