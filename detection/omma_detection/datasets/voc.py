"""Pascal VOC's folders (Everingham et al., 2010)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from omma.data import AnnotationsBuilder, Report
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_detection.datasets.base import DetectionDataset, ObjectReader, inside
from omma_detection.datasets.classes import resolve


@register
class VocDetection(DetectionDataset):
    """Boxes from one XML file per image.

    Pixels are counted from 1 in the files, both corners included: a box (1, 1, w, h) is the whole image and
    becomes (0, 0, w, h). Difficult objects are ignored, neither right nor wrong.

    Args:
        root: folder with ``Annotations``, ``JPEGImages`` and ``ImageSets/Main``.
        split: name of the list in ``ImageSets/Main``.
        classes: names in label order, the name of a known list, or null: all that occur, sorted.
        transforms: applied to each sample.
        drop_empty: leave out images without objects.
        on_error: what to do with an image that can't be read.

    Raises:
        DataError: a file is missing, no XML, or not in VOC's form; the classes aren't there.
    """

    def __init__(
        self,
        *,
        root: str,
        split: str,
        classes: tuple[str, ...] | str | None = None,
        transforms: tuple[AnyTransform, ...] = (),
        drop_empty: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        base = Path(root)
        listing = base / "ImageSets" / "Main" / f"{split}.txt"
        ids = _lines(listing)
        files = [Path(inside(base / "Annotations", f"{id}.xml", str(listing))) for id in ids]
        trees = [_parse(file) for file in files]
        found = sorted(
            {_text(o, "name", file) for tree, file in zip(trees, files) for o in tree.iter("object")}
        )
        names = resolve(classes, found, str(base / "Annotations"))
        builder, report = AnnotationsBuilder(segmentations=False), Report()
        reader = ObjectReader(builder, report)
        for id, file, tree in zip(ids, files, trees):
            size = (_number(tree, "size/height", file), _number(tree, "size/width", file))
            name = tree.findtext("filename") or f"{id}.jpg"
            if Path(name).stem != id:
                name = f"{id}{Path(name).suffix or '.jpg'}"
            builder.image(inside(base / "JPEGImages", name, str(file)), id, int(size[0]), int(size[1]))
            for o in tree.iter("object"):
                label = _text(o, "name", file)
                if label not in names:
                    report.note("objects of other classes left out", f"{file}: {label}")
                    continue
                x1, y1, x2, y2 = (
                    _number(o, f"bndbox/{side}", file) for side in ("xmin", "ymin", "xmax", "ymax")
                )
                if x2 <= x1 or y2 <= y1:
                    report.note("boxes without area dropped", str(file))
                    continue
                difficult = (o.findtext("difficult") or "0").strip() == "1"
                reader.add(
                    (x1 - 1, y1 - 1, x2, y2),
                    names.index(label),
                    size=(int(size[0]), int(size[1])),
                    where=str(file),
                    crowd=difficult,
                )
        super().__init__(
            annotations=builder.build(),
            classes=names,
            transforms=transforms,
            masks=False,
            drop_empty=drop_empty,
            on_error=on_error,
            report=report,
            source=str(listing),
        )


def _lines(listing: Path) -> list[str]:
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        splits = sorted(file.stem for file in listing.parent.glob("*.txt"))
        hint = f"; there are: {', '.join(splits)}" if splits else ""
        raise DataError(f"{listing}: can't be read: {error.strerror}{hint}") from None
    ids = [line.split()[0] for line in lines if line.strip()]
    if not ids:
        raise DataError(f"{listing}: the split is empty")
    return ids


def _parse(file: Path) -> ElementTree.Element:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: can't be read: {error.strerror}") from None
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError(f"{file}: refused: an annotation file needs no document type or entities")
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise DataError(f"{file}: not valid XML: {error}") from None


def _text(node: ElementTree.Element, path: str, file: Path) -> str:
    text = node.findtext(path)
    if not text:
        raise DataError(f"{file}: <{node.tag}> has no <{path}>")
    return text.strip()


def _number(node: ElementTree.Element, path: str, file: Path) -> float:
    text = _text(node, path, file)
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{file}: <{path}> should be a number, got '{text}'") from None
