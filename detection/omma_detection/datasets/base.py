"""What all detection data sets share: from compact annotations to samples and targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torchvision import tv_tensors

from omma.data import Annotations, AnnotationsBuilder, Dataset, Report, read_image
from omma.data.transforms import AnyTransform, Compose
from omma.errors import DataError
from omma.structures import DataInfo, Meta, Polygons, Sample, Target


class DetectionDataset(Dataset):
    """Images with boxes, and outlines where wanted.

    Crowds and difficult objects are not among ``boxes`` but in ``ignored_boxes``.

    Args:
        annotations: of all images.
        classes: names in label order.
        transforms: applied to each sample.
        masks: give each sample its ``masks``.
        drop_empty: leave out images without objects.
        on_error: ``raise`` stops at an image that can't be read; ``skip`` takes the next one and counts it.
        report: what was left out while reading.
        source: the annotation file, for messages.
    """

    def __init__(
        self,
        *,
        annotations: Annotations,
        classes: tuple[str, ...],
        transforms: Sequence[AnyTransform],
        masks: bool,
        drop_empty: bool,
        on_error: Literal["raise", "skip"],
        report: Report,
        source: str,
    ) -> None:
        self.info = DataInfo(classes=classes)
        self.transforms = Compose(transforms=transforms)
        self.masks, self.on_error, self.report = masks, on_error, report
        if drop_empty:
            usable = torch.zeros(len(annotations), dtype=torch.int64)
            owner = torch.repeat_interleave(torch.arange(len(annotations)), annotations.starts.diff())
            usable.index_add_(0, owner, (~annotations.crowd).long())
            annotations = annotations.select(usable.nonzero()[:, 0])
        if not len(annotations):
            raise DataError(f"{source}: no images" + (" with objects of these classes" if drop_empty else ""))
        self.annotations = annotations
        # In shared memory, so that the counts of worker processes come back.
        self.skipped = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> Sample:
        """The transformed sample.

        Raises:
            DataError: the image can't be read, or has another size than annotated.
        """
        for step in range(len(self)):
            try:
                return self.transforms(self._read((index + step) % len(self)))
            except DataError:
                if self.on_error == "raise":
                    raise
                self.skipped += 1
        raise DataError(f"none of the {len(self)} images can be read")

    def target(self, index: int) -> Target:
        """Everything annotated in the image, original pixels."""
        a, rows = self.annotations, self.annotations.rows(index)
        height, width = a.sizes[index].tolist()
        target = Target(
            index=index,
            id=a.id(index),
            path=a.path(index),
            height=height,
            width=width,
            boxes=a.boxes[rows],
            labels=a.labels[rows],
            crowd=a.crowd[rows],
            area=a.area[rows],
        )
        if a.segmentations is not None:
            target["segmentations"] = [a.segmentation(row) for row in range(rows.start, rows.stop)]
        return target

    @property
    def image_sizes(self) -> np.ndarray:
        """(len, 2) original heights and widths."""
        return self.annotations.sizes.numpy()

    def class_counts(self) -> np.ndarray:
        """(len, C) objects of each class, crowds left out."""
        a = self.annotations
        counts = torch.zeros(len(a), len(self.info.classes), dtype=torch.int32)
        owner = torch.repeat_interleave(torch.arange(len(a)), a.starts.diff())
        keep = ~a.crowd
        ones = torch.ones(int(keep.sum()), dtype=torch.int32)
        counts.index_put_((owner[keep], a.labels[keep]), ones, accumulate=True)
        return counts.numpy().astype(np.uint16)

    def _read(self, index: int) -> Sample:
        a, rows = self.annotations, self.annotations.rows(index)
        path = a.path(index)
        image = read_image(path)
        size = (int(a.sizes[index, 0]), int(a.sizes[index, 1]))
        if tuple(image.shape[-2:]) != size:
            found = f"{image.shape[-1]} x {image.shape[-2]}"
            raise DataError(f"{path}: is {found} pixels, but annotated as {size[1]} x {size[0]}")
        usable = ~a.crowd[rows]
        sample = Sample(
            image=image,
            boxes=_boxes(a.boxes[rows][usable], size),
            labels=a.labels[rows][usable],
            ignored_boxes=_boxes(a.boxes[rows][~usable], size),
            meta=Meta(index=index, id=a.id(index), path=path, height=size[0], width=size[1]),
        )
        if self.masks:
            chosen = [a.segmentation(rows.start + int(i)) for i in usable.nonzero()[:, 0]]
            sample["masks"] = _masks(chosen, size, path)
        return sample


def _boxes(boxes: torch.Tensor, size: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)  # pyright: ignore[reportCallIssue]


def _masks(segmentations: Sequence[Any], size: tuple[int, int], path: str) -> Polygons | tv_tensors.Mask:
    """Outlines if all are outlines, else bitmaps."""
    if any(s is None for s in segmentations):
        raise DataError(f"{path}: an object has no segmentation, but masks are asked for")
    if all(isinstance(s, list) for s in segmentations):
        return Polygons.from_coco(segmentations, size)
    from pycocotools import mask as coco_mask

    bitmaps = []
    for s in segmentations:
        if isinstance(s, list):
            bitmaps.append(Polygons.from_coco([s], size).rasterise()[0].numpy())
            continue
        rle: Any = coco_mask.frPyObjects(s, *size) if isinstance(s["counts"], list) else s  # pyright: ignore[reportArgumentType]
        bitmaps.append(coco_mask.decode(rle))
    return tv_tensors.Mask(torch.from_numpy(np.stack(bitmaps)))


class ObjectReader:
    """Checks boxes on their way into the compact annotations and counts what it leaves out."""

    def __init__(self, builder: AnnotationsBuilder, report: Report) -> None:
        self.builder, self.report = builder, report

    def add(
        self,
        box: Sequence[float],
        label: int,
        *,
        size: tuple[int, int],
        where: str,
        crowd: bool = False,
        area: float | None = None,
        segmentation: Any = None,
    ) -> None:
        """Add an xyxy box cut to the image, unless it is no box at all."""
        if not all(math.isfinite(value) for value in box):
            self.report.note("boxes with NaN or infinity dropped", where)
            return
        x1, y1, x2, y2 = box
        height, width = size
        if x2 <= x1 or y2 <= y1:
            self.report.note("boxes without area dropped", where)
            return
        cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        if cut[2] <= cut[0] or cut[3] <= cut[1]:
            self.report.note("boxes outside their image dropped", where)
            return
        if max(abs(a - b) for a, b in zip(cut, box)) > 1:
            self.report.note("boxes cut at the image's border", where)
        if area is None or not math.isfinite(area):
            area = (x2 - x1) * (y2 - y1)
        self.builder.object(cut, label, crowd=crowd, area=area, segmentation=segmentation)


def inside(folder: Path, name: str, source: str) -> str:
    """Path of the file ``name`` below ``folder``.

    Raises:
        DataError: the name leads out of the folder.
    """
    if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{source}: the file name '{name}' leads out of {folder}")
    return str(folder / name)
