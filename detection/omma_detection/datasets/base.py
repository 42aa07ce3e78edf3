"""What the readers of all detection formats share: annotations in, samples and targets out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.annotations import Annotations, Report
from omma.data.columns import with_objects
from omma.data.dataset import Dataset
from omma.data.images import read_image, read_label_map
from omma.data.transforms import AnyTransform, Compose
from omma.errors import DataError
from omma.ops import decode_masks
from omma.structures import DataInfo, Meta, Polygons, Sample, Target

OnError = Literal["raise", "skip"]
_MOST_IN_A_ROW = 20

_log = logging.getLogger(__name__)


class DetectionDataset(Dataset):
    """Images with boxes and perhaps masks, from annotations that a subclass has read.

    Crowd regions and difficult objects are ``ignored_boxes`` of a sample; a target has them too.

    Args:
        annotations: of all images.
        folder: what their paths are relative to.
        classes: names in label order.
        report: what was dropped while reading.
        transforms: applied to each sample in turn.
        masks: put the outlines into samples.
        drop_empty: leave out images in which nothing is to be found; crowds alone don't count.
        on_error: what happens when an image can't be read: stop, or count it and take the next one instead.
        semantic: folder with the class of each pixel, in grey PNG files called as the images; null: none.

    Raises:
        DataError: no image is left.
    """

    def __init__(
        self,
        annotations: Annotations,
        *,
        folder: Path,
        classes: tuple[str, ...],
        report: Report,
        transforms: tuple[AnyTransform, ...],
        masks: bool,
        drop_empty: bool,
        on_error: OnError,
        semantic: Path | None = None,
    ) -> None:
        self.info = DataInfo(classes)
        self.semantic = semantic
        self.folder, self.report, self.transforms = folder, report, Compose(transforms=transforms)
        self.masks, self.on_error = masks, on_error
        if drop_empty:
            keep = with_objects(annotations)
            report.note("images left out: they have no object", str(folder), len(annotations) - len(keep))
            if not len(keep):
                raise DataError(f"{folder}: none of the {len(annotations)} images has an object of {classes}")
            annotations = annotations.take(keep) if len(keep) < len(annotations) else annotations
        if len(annotations) and not bool((~annotations.crowd).any()):
            report.note("images in all, and none has an object", str(folder), len(annotations))
        self.annotations = annotations
        # One flag per image in shared memory, so that the training process sees what workers met.
        self.broken: Tensor = torch.zeros(len(annotations), dtype=torch.bool)
        if on_error == "skip":
            self.broken.share_memory_()

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``; under ``on_error: skip`` the next one that can be read.

        Raises:
            DataError: the image can't be read, or has another size than its annotation says; with ``skip``,
                many images in a row can't be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, got index {index}")
        if self.on_error == "raise":
            return self.transforms(self.read(index))
        for ahead in range(_MOST_IN_A_ROW):
            position = (index + ahead) % len(self)
            try:
                return self.transforms(self.read(position))
            except DataError as error:
                if not self.broken[position]:
                    _log.warning("skipped: %s", error)
                self.broken[position] = True
                last = error
        raise DataError(f"{_MOST_IN_A_ROW} images in a row can't be read; the last one: {last}")  # pyright: ignore[reportPossiblyUnboundVariable]

    def skipped(self) -> list[str]:
        """Paths of the images that couldn't be read so far, in any worker process."""
        return [self.path(int(index)) for index in self.broken.nonzero()[:, 0]]

    def path(self, index: int) -> str:
        """Image file of sample ``index``."""
        return str(self.folder / self.annotations.path(index))

    def read(self, index: int) -> Sample:
        """Sample ``index`` before its transforms.

        Raises:
            DataError: as ``__getitem__``.
        """
        height, width = size = self.annotations.size(index)
        path = self.path(index)
        image = read_image(path)
        if tuple(image.shape[-2:]) != size:
            turned = tuple(image.shape[-2:]) == (width, height)
            raise DataError(
                f"{path}: expected {width} x {height} pixels as annotated, the file has {image.shape[-1]} x "
                f"{image.shape[-2]}; "
                + (
                    "was it rotated after it was annotated?"
                    if turned
                    else "is it the image that was annotated?"
                )
            )
        rows = self.annotations.rows(index)
        crowd = self.annotations.crowd[rows]
        boxes, labels = self.annotations.boxes[rows], self.annotations.labels[rows]
        sample: Sample = {
            "image": image,
            "boxes": _boxes(boxes[~crowd], size),
            "labels": labels[~crowd].long(),
            "ignored_boxes": _boxes(boxes[crowd], size),
            "meta": Meta(index=index, id=self.annotations.id(index), path=path, height=height, width=width),
        }
        if self.masks:
            sample["masks"] = self._masks(rows.start + (~crowd).nonzero()[:, 0], size)
        if self.semantic is not None:
            sample["semantic"] = self._semantic(self.semantic / self.annotations.path(index), size)
        return sample

    def target(self, index: int) -> Target:
        """Ground truth of sample ``index``; with ``segmentations`` if they were read."""
        table = self.annotations
        rows = table.rows(index)
        height, width = table.size(index)
        target: Target = {
            "index": index,
            "id": table.id(index),
            "path": self.path(index),
            "height": height,
            "width": width,
            "boxes": table.boxes[rows].clone(),
            "labels": table.labels[rows].long(),
            "crowd": table.crowd[rows].clone(),
            "area": table.area[rows].clone(),
        }
        if table.absent is not None:
            target["absent"] = table.absent[index].long()
        if table.partial is not None:
            target["partial"] = table.partial[index].long()
        if table.segmentations is not None:
            segmentations = table.segmentations
            target["segmentations"] = [
                segmentations.coco(i, (height, width)) for i in range(rows.start, rows.stop)
            ]
        return target

    @property
    def image_sizes(self) -> np.ndarray:
        """(len, 2) original heights and widths."""
        return self.annotations.sizes.numpy()

    def class_counts(self) -> np.ndarray:
        """(len, C) objects of each class, crowds left out."""
        return self.annotations.class_counts(len(self.info.classes))

    def _masks(self, rows: Tensor, size: tuple[int, int]) -> Polygons | tv_tensors.Mask:
        """Outlines; bitmaps if one of the objects is given as run lengths, which have no outline."""
        segmentations = self.annotations.segmentations
        assert segmentations is not None
        numbers = rows.tolist()
        if not any(segmentations.is_rle(row) for row in numbers):
            outlines: list[list[np.ndarray]] = [segmentations.outlines(row) for row in numbers]
            return Polygons.from_coco(cast(list[list[list[float]]], outlines), size)
        from omma_detection.metrics.rle import encode_segmentation

        encoded = [encode_segmentation(segmentations.coco(row, size), *size) for row in numbers]
        return tv_tensors.Mask(decode_masks(encoded, size).to(torch.uint8).contiguous())

    def _semantic(self, image: Path, size: tuple[int, int]) -> tv_tensors.Mask:
        path = image.with_suffix(".png")
        classes = read_label_map(path)
        if tuple(classes.shape) != size:
            raise DataError(
                f"{path}: expected {size[1]} x {size[0]} pixels as the image has, the file has "
                f"{classes.shape[1]} x {classes.shape[0]}"
            )
        return tv_tensors.Mask(classes.to(torch.uint8))


def _boxes(boxes: Tensor, size: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)  # pyright: ignore[reportCallIssue]
