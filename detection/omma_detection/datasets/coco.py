"""COCO's annotation files (Lin et al., Microsoft COCO, 2014)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from omma.data import AnnotationsBuilder, Report
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_detection.datasets.base import DetectionDataset, ObjectReader, inside
from omma_detection.datasets.classes import resolve


@register
class CocoDetection(DetectionDataset):
    """Boxes, and outlines where wanted, from one JSON file.

    Args:
        annotations: the JSON file, relative to ``root``.
        images: folder of the images, relative to ``root``.
        root: folder of both; null: the working directory.
        classes: names in label order, the name of a known list, or null: all of the file, by category id.
        transforms: applied to each sample.
        masks: give each sample its ``masks``.
        drop_empty: leave out images without objects.
        on_error: what to do with an image that can't be read.

    Raises:
        DataError: the file is missing, no JSON, or not in COCO's form; the classes aren't there.
    """

    def __init__(
        self,
        *,
        annotations: str,
        images: str,
        root: str | None = None,
        classes: tuple[str, ...] | str | None = None,
        transforms: tuple[AnyTransform, ...] = (),
        masks: bool = False,
        drop_empty: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        base = Path(root or ".")
        source = base / annotations
        report = Report()
        names, builder = _read(source, base / images, classes, masks, report)
        super().__init__(
            annotations=builder.build(),
            classes=names,
            transforms=transforms,
            masks=masks,
            drop_empty=drop_empty,
            on_error=on_error,
            report=report,
            source=str(source),
        )


def _read(
    source: Path, images: Path, classes: Sequence[str] | str | None, masks: bool, report: Report
) -> tuple[tuple[str, ...], AnnotationsBuilder]:
    data = load_json(source)
    try:
        categories = {
            c["id"]: str(c["name"]) for c in sorted(data.get("categories", []), key=lambda c: c["id"])
        }
        names = resolve(classes, list(categories.values()), str(source))
        labels = {id: names.index(name) for id, name in categories.items() if name in names}
        builder = AnnotationsBuilder(segmentations=masks)
        reader = ObjectReader(builder, report)
        groups = _by_image(data, categories, source)
        for image in data["images"]:
            size = (int(image["height"]), int(image["width"]))
            builder.image(inside(images, image["file_name"], str(source)), image["id"], *size)
            for a in groups.pop(image["id"]):
                if a["category_id"] not in labels:
                    report.note("objects of other classes left out", f"annotation {a.get('id')}")
                    continue
                x, y, width, height = (float(value) for value in a["bbox"])
                reader.add(
                    (x, y, x + width, y + height),
                    labels[a["category_id"]],
                    size=size,
                    where=f"annotation {a.get('id')} of image {image['id']}",
                    crowd=bool(a.get("iscrowd", 0)),
                    area=a.get("area"),
                    segmentation=a.get("segmentation") if masks else None,
                )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        kind = f"misses the key {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{source}: not a COCO file of objects: {kind}") from None
    return names, builder


def _by_image(data: dict[str, Any], categories: dict[Any, str], source: Path) -> dict[Any, list[Any]]:
    """Annotations of each image."""
    groups: dict[Any, list[Any]] = {}
    for image in data["images"]:
        if image["id"] in groups:
            raise DataError(f"{source}: two images have the id {image['id']}")
        groups[image["id"]] = []
    for a in data.pop("annotations"):
        if a["image_id"] not in groups:
            raise DataError(
                f"{source}: annotation {a.get('id')} is of image {a['image_id']}, which isn't there"
            )
        if a["category_id"] not in categories:
            known = ", ".join(map(str, list(categories)[:10]))
            raise DataError(
                f"{source}: annotation {a.get('id')} has category {a['category_id']}, which isn't there; ids are {known}"
            )
        groups[a["image_id"]].append(a)
    return groups


def load_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        DataError: missing, not JSON, or no mapping.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{path}: expected a mapping with images, annotations, categories")
    return data
