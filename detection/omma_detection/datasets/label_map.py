"""Folders of images beside folders of label maps, the usual form of microscopy and of instance tools."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from omma.data.annotations import Report
from omma.data.columns import ImageColumns, ObjectColumns, build_annotations, require_images
from omma.data.images import read_label_map
from omma.data.paths import inside
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.ops import encode_masks, masks_to_boxes
from omma.registry import register
from omma_detection.datasets.base import DetectionDataset, OnError

_ENDINGS = (".png", ".tif", ".tiff")
_MOST_OBJECTS = 10_000


@register
class LabelMapDetection(DetectionDataset):
    """``root/images/**`` and, under the same name, ``root/labels/**`` with the number of each pixel's object.

    0 is background; each other number is one object, whatever its value. All objects are of one class. The
    label maps are read at once and kept as run lengths.

    Args:
        root: the folder.
        split: text file in ``root`` with one name a line, without ending; null: all label maps.
        classes: the name of the one class.
        transforms: applied to each sample.
        masks: put the masks into samples.
        drop_empty: leave out images without objects.
        on_error: what happens when an image can't be read.

    Raises:
        DataError: a file is missing or is no label map, or more than one class is asked for.
    """

    def __init__(
        self,
        *,
        root: str,
        split: str | None = None,
        classes: tuple[str, ...] = ("object",),
        transforms: tuple[AnyTransform, ...] = (),
        masks: bool = True,
        drop_empty: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        if len(classes) != 1:
            raise DataError(f"{root}: expected one class, label maps tell none apart, got {list(classes)}")
        folder, report = Path(root), Report()
        images, objects = ImageColumns(), ObjectColumns(segmentations=True)
        places: list[str] = []
        for name in _names(folder, split):
            path = _with_ending(folder / "labels", name)
            image = _with_ending(folder / "images", name)
            labels = read_label_map(path)
            images.add(image.relative_to(folder / "images").as_posix(), name, *labels.shape)
            for number, box, area, encoding in _objects(labels, path):
                objects.add(len(images) - 1, 0, box, area=area, id=number, segmentation=encoding)
                places.append(f"{path}: object {number}")
        require_images(images, str(folder))
        super().__init__(
            build_annotations(images, objects, report, place=places.__getitem__, masks_only=True),
            folder=folder / "images",
            classes=classes,
            report=report,
            transforms=transforms,
            masks=masks,
            drop_empty=drop_empty,
            on_error=on_error,
        )


def _names(folder: Path, split: str | None) -> list[str]:
    """Names without their endings, sorted or in the order of the split file."""
    labels = folder / "labels"
    if not labels.is_dir():
        raise DataError(f"{labels}: expected a folder of label maps, found none")
    if split is None:
        files = sorted(file for file in labels.rglob("*") if file.suffix.lower() in _ENDINGS)
        return [file.relative_to(labels).with_suffix("").as_posix() for file in files]
    path = folder / inside(split, "split")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a text file with one name a line: {error}") from None
    return [inside(line.strip(), f"{path}:{i}") for i, line in enumerate(lines, 1) if line.strip()]


def _with_ending(folder: Path, name: str) -> Path:
    for ending in (*_ENDINGS, ".jpg", ".jpeg", ".bmp", ".webp"):
        if (path := folder / f"{name}{ending}").exists():
            return path
    raise DataError(f"{folder / name}: expected an image of this name (.png, .tif, .jpg ...)")


def _objects(labels: Tensor, path: Path) -> list[tuple[int, list[float], float, dict[str, object]]]:
    """Number, box, area and encoding of each object in (H, W) ``labels``."""
    numbers = labels.unique()
    numbers = numbers[numbers != 0]
    if len(numbers) > _MOST_OBJECTS:
        raise DataError(
            f"{path}: expected the numbers of objects, at most {_MOST_OBJECTS}, found {len(numbers)} values"
        )
    found: list[tuple[int, list[float], float, dict[str, object]]] = []
    for chunk in numbers.split(64):
        masks = labels == chunk[:, None, None]
        boxes, areas = masks_to_boxes(masks).tolist(), masks.sum((1, 2), dtype=torch.float).tolist()
        for number, box, area, code in zip(chunk.tolist(), boxes, areas, encode_masks(masks), strict=True):
            found.append((number, box, area, {"size": code["size"], "counts": code["counts"].decode()}))
    return found
