"""Cityscapes' instances (Cordts et al., The Cityscapes Dataset, CVPR 2016)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from omma.data.annotations import Report
from omma.data.classes import match_classes
from omma.data.columns import ImageColumns, ObjectColumns, build_annotations, require_images
from omma.data.images import MAX_PIXELS
from omma.data.lines import read_lines
from omma.data.paths import inside, under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_detection.datasets.base import DetectionDataset, OnError
from omma_detection.datasets.classes import class_list

CLASSES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
"""Those that are annotated one by one and evaluated."""
_GROUP = "group"
_UNDRAWN = frozenset(("license plate",))
"""Has no number, and so hides nothing."""
_ENDING = "_gtFine_polygons.json"
_FARTHEST = 2**16


@register
class CityscapesDetection(DetectionDataset):
    """``gtFine/SPLIT/CITY/*_gtFine_polygons.json`` and ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png``.

    Polygons are given from back to front, and each hides what lies behind it: an object's mask and box are of
    what remains to be seen, as in Cityscapes' own ``instanceIds`` images. Groups (``cargroup``) are neither
    right nor wrong to find. Files that were converted to COCO's form (``instancesonly_filtered_*.json``)
    are read by ``CocoDetection``.

    Args:
        root: folder of both.
        split: train, val or test.
        annotations, images: the folders in ``root``.
        classes: some of the eight in label order; null: all. Objects of others are left out.
        transforms: applied to each sample.
        masks: keep the masks.
        drop_empty: leave out images without objects.
        on_error: what happens when an image can't be read.

    Raises:
        DataError: there is no such split, or a file isn't of this form.
    """

    def __init__(
        self,
        *,
        root: str,
        split: str,
        annotations: str = "gtFine",
        images: str = "leftImg8bit",
        classes: tuple[str, ...] | str | None = None,
        transforms: tuple[AnyTransform, ...] = (),
        masks: bool = False,
        drop_empty: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        report = Report()
        folder = under(root, annotations) / inside(split, "split")
        names = class_list(classes) or CLASSES
        match_classes(names, CLASSES, "Cityscapes", all_needed=True)
        reader = _Reader(names, report, masks=masks)
        for path in sorted(folder.glob(f"*/*{_ENDING}")):
            reader.file(path)
        require_images(reader.images, f"{folder}/*/*{_ENDING}")
        table = build_annotations(reader.images, reader.objects, report, place=lambda i: reader.places[i])
        super().__init__(
            table,
            folder=under(root, images) / split,
            classes=names,
            report=report,
            transforms=transforms,
            masks=masks,
            drop_empty=drop_empty,
            on_error=on_error,
        )


class _Reader:
    """Collects the images file by file."""

    def __init__(self, names: tuple[str, ...], report: Report, *, masks: bool) -> None:
        self.labels = {name: label for label, name in enumerate(names)}
        self.report, self.masks = report, masks
        self.images, self.objects = ImageColumns(), ObjectColumns(segmentations=masks)
        self.places: list[str] = []

    def file(self, path: Path) -> None:
        content = _content(path)
        height, width = (_side(content.get(key), f"{path}: {key}") for key in ("imgHeight", "imgWidth"))
        if height * width > MAX_PIXELS:
            raise DataError(f"{path}: expected at most {MAX_PIXELS} pixels, annotated are {width} x {height}")
        id = path.name.removesuffix(_ENDING)
        row = len(self.images)
        self.images.add(f"{path.parent.name}/{id}_leftImg8bit.png", id, height, width)
        records = [_polygon(record, f"{path}: objects[{i}]") for i, record in enumerate(content["objects"])]
        for number, (name, points) in enumerate(records):
            label, crowd = self.label(name)
            if label < 0:
                continue
            front = [other for hiding, other in records[number + 1 :] if hiding not in _UNDRAWN]
            mask, corner = _seen(points, front, (height, width))
            where = f"{path}: objects[{number}]"
            if not mask.any():
                self.report.note("objects left out: nothing is seen of them", where)
                continue
            x1, y1, x2, y2 = _bounds(mask)
            x, y = corner
            self.objects.add(
                row,
                label,
                (x + x1, y + y1, x + x2, y + y2),
                crowd=crowd,
                area=float(mask.sum()),
                segmentation=_run_lengths(mask, corner, (height, width)) if self.masks else None,
            )
            self.places.append(where)

    def label(self, name: str) -> tuple[int, bool]:
        """Label of an object, -1 if it isn't asked for, and whether it is a group."""
        if name not in self.labels and name.endswith(_GROUP):
            return self.labels.get(name.removesuffix(_GROUP), -1), True
        return self.labels.get(name, -1), False


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads("\n".join(read_lines(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error!s:.80}") from None
    if not isinstance(content, dict) or not isinstance(content.get("objects"), list):
        raise DataError(f"{path}: expected an object with imgHeight, imgWidth and the list 'objects'")
    return content


def _side(value: Any, where: str) -> int:
    if type(value) is not int or not 0 < value < _FARTHEST:
        raise DataError(f"{where}: expected a whole number of pixels, got {value!r:.80}")
    return value


def _polygon(record: Any, where: str) -> tuple[str, np.ndarray]:
    """Name of an object and its corners, (P, 2) int64 x, y."""
    name = record.get("label") if isinstance(record, dict) else None
    points = record.get("polygon") if isinstance(record, dict) else None
    if not isinstance(name, str) or not isinstance(points, list) or len(points) < 2:
        raise DataError(f"{where}: expected an object with the text 'label' and the list 'polygon'")
    for point in points:
        pair = isinstance(point, list) and len(point) == 2 and all(type(v) in (int, float) for v in point)
        if not pair or not all(abs(value) < _FARTHEST for value in point):
            raise DataError(f"{where}: expected [x, y] in pixels in 'polygon', got {point!r:.80}")
    return name, np.array(points, dtype=np.float64).astype(np.int64)


def _seen(
    points: np.ndarray, front: list[np.ndarray], size: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """What is seen of a polygon behind others: (h, w) bool of its surroundings, and their corner (x, y)."""
    low = points.min(axis=0).clip(min=0)
    high = np.minimum(points.max(axis=0) + 1, (size[1], size[0]))
    if (high <= low).any():
        return np.zeros((0, 0), bool), (0, 0)
    picture = Image.new("1", tuple((high - low).tolist()))
    pen = ImageDraw.Draw(picture)
    pen.polygon((points - low).flatten().tolist(), fill=1)
    for other in front:
        if (other.min(axis=0) < high).all() and (other.max(axis=0) >= low).all():
            pen.polygon((other - low).flatten().tolist(), fill=0)
    return np.array(picture), (int(low[0]), int(low[1]))


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First column and row with a pixel, and those after the last."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _run_lengths(mask: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """COCO's run lengths, column by column, of a mask whose top-left pixel lies at ``corner`` of an image."""
    (height, width), (x, y) = size, corner
    columns = np.zeros((mask.shape[1], height), bool)
    columns[:, y : y + mask.shape[0]] = mask.T
    changes = np.flatnonzero(np.diff(columns.ravel(), prepend=False, append=False)) + x * height
    counts = np.diff(changes, prepend=0, append=height * width)
    return {"size": [height, width], "counts": counts.tolist()}
