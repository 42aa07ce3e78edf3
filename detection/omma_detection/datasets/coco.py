"""COCO's instance annotations (Lin et al., 2014; https://cocodataset.org/#format-data)."""

from __future__ import annotations

from pathlib import Path

from omma.data.annotations import Report
from omma.data.coco import CocoReader
from omma.data.paths import under
from omma.data.transforms import AnyTransform
from omma.registry import register
from omma.structures import DataInfo
from omma_detection.datasets.base import DetectionDataset, OnError
from omma_detection.datasets.classes import class_list


@register
class CocoDetection(DetectionDataset):
    """Images and a COCO instances file.

    Labels are matched by class name, never by the order or the ids of the file's categories.

    Args:
        annotations: the JSON file.
        images: folder of the images.
        root: folder that both are relative to.
        classes: names in label order, a known list ('coco', 'voc'), or null: all of the file by rising id.
            Objects of other categories are left out.
        transforms: applied to each sample.
        masks: read the segmentations. Samples then have ``masks``, targets ``segmentations``, and objects
            without one are dropped.
        drop_empty: leave out images without objects, as is usual for training on COCO.
        on_error: what happens when an image can't be read.
        semantic: folder with the class of each pixel, as COCO-stuff's maps; samples then have ``semantic``.

    Raises:
        DataError: the file is no COCO instances file, contradicts itself, lacks one of the classes, or names
            images outside of its folder.
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
        on_error: OnError = "raise",
        semantic: str | None = None,
    ) -> None:
        report = Report()
        reader = self.reader(under(root, annotations), masks=masks)
        wanted = class_list(classes)
        names, table = reader.read(wanted, report)
        super().__init__(
            table,
            folder=under(root, images),
            classes=names,
            report=report,
            transforms=transforms,
            masks=masks,
            drop_empty=drop_empty,
            on_error=on_error,
            semantic=None if semantic is None else under(root, semantic),
        )
        self.info = DataInfo(names, reader.groups(names))

    def reader(self, path: Path, *, masks: bool) -> CocoReader:
        """What reads the file."""
        return CocoReader(path, masks=masks)
