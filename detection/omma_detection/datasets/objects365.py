"""Objects365 (Shao et al., ICCV 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omma.data.coco import CocoReader
from omma.registry import register
from omma_detection.datasets.coco import CocoDetection


@register
class Objects365Detection(CocoDetection):
    """Images and an Objects365 file, version 1 or 2: COCO's form.

    Version 2 names an image ``images/v1/patch8/x.jpg``, which is downloaded as ``patch8/x.jpg``: of a path
    the last folder and the name count.

    Args:
        annotations, images, root, classes, transforms, masks, drop_empty, on_error, semantic: as
            ``CocoDetection``.

    Raises:
        DataError: as ``CocoDetection``.
    """

    def reader(self, path: Path, *, masks: bool) -> CocoReader:
        """What reads the file."""
        return _Reader(path, masks=masks)


class _Reader(CocoReader):
    """As COCO's, with shorter paths."""

    def image(self, number: int, record: Any) -> None:
        name = record.get("file_name") if isinstance(record, dict) else None
        if isinstance(name, str) and name.startswith("images/"):
            record = {**record, "file_name": "/".join(name.split("/")[-2:])}
        super().image(number, record)
