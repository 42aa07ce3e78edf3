"""WIDER FACE (Yang et al., WIDER FACE: A Face Detection Benchmark, CVPR 2016)."""

from __future__ import annotations

from pathlib import Path

from omma.data.annotations import Report
from omma.data.columns import ObjectColumns, build_annotations, require_images
from omma.data.lines import read_lines
from omma.data.paths import inside, under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_detection.datasets.base import DetectionDataset, OnError
from omma_detection.datasets.on_disk import ImagesOnDisk

CLASSES = ("face",)
_ATTRIBUTES = 6
"""Blur, expression, illumination, invalid, occlusion and pose follow the box."""
_INVALID = 3
_NO_FACE = ["0"] * (4 + _ATTRIBUTES)


@register
class WiderFaceDetection(DetectionDataset):
    """Images in folders of events, and a text file ``wider_face_*_bbx_gt.txt`` of ``wider_face_split``.

    Of each image the file has its path, the number of its faces and one line per face: x, y, width and
    height in pixels and six attributes. An image without faces has one line of zeros. Faces marked
    ``invalid`` are neither right nor wrong to find.

    Args:
        annotations: the text file.
        images: folder of the events, ``WIDER_train/images``.
        root: folder that both are relative to.
        smallest: faces with a shorter side are ignored too; pixels.
        transforms: applied to each sample.
        drop_empty: leave out images without faces.
        on_error: what happens when an image can't be read. Sizes are read from all images at once, and
            those that can't be read are left out then.

    Raises:
        DataError: a file is missing, or a line isn't of this form; the message has its number.
        ValueError: a negative ``smallest``.
    """

    def __init__(
        self,
        *,
        annotations: str,
        images: str,
        root: str | None = None,
        smallest: float = 0,
        transforms: tuple[AnyTransform, ...] = (),
        drop_empty: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        if not smallest >= 0:
            raise ValueError(f"smallest: expected a side in pixels, got {smallest}")
        report, folder = Report(), under(root, images)
        pictures = ImagesOnDisk(folder, report, skip=on_error == "skip")
        reader = _Reader(under(root, annotations), pictures, smallest)
        reader.read()
        require_images(pictures, str(reader.path))
        table = build_annotations(pictures, reader.objects, report, place=reader.place)
        super().__init__(
            table,
            folder=folder,
            classes=CLASSES,
            report=report,
            transforms=transforms,
            masks=False,
            drop_empty=drop_empty,
            on_error=on_error,
        )


class _Reader:
    """Goes through the lines image by image."""

    def __init__(self, path: Path, images: ImagesOnDisk, smallest: float) -> None:
        self.path, self.images, self.smallest = path, images, smallest
        self.objects = ObjectColumns(segmentations=False)
        self.lines = [line.strip() for line in read_lines(path)]
        while self.lines and not self.lines[-1]:
            self.lines.pop()

    def where(self, line: int) -> str:
        return f"{self.path}:{line + 1}"

    def place(self, number: int) -> str:
        # The annotation's id is its line.
        return self.where(self.objects.id[number])

    def read(self) -> None:
        seen: set[str] = set()
        at = 0
        while at < len(self.lines):
            name = inside(self.lines[at], self.where(at))
            if name in seen:
                raise DataError(f"{self.where(at)}: the image '{name}' stands on a line before, too")
            seen.add(name)
            count = self.count(at + 1)
            end = at + 2 + count
            if end > len(self.lines):
                raise DataError(
                    f"{self.where(at + 1)}: expected {count} faces of '{name}', the file ends after "
                    f"{len(self.lines) - at - 2}"
                )
            self.faces(name, range(at + 2, end))
            no_face = not count and end < len(self.lines) and self.lines[end].split() == _NO_FACE
            at = end + no_face

    def count(self, at: int) -> int:
        text = self.lines[at] if at < len(self.lines) else ""
        if not (text.isascii() and text.isdecimal() and len(text) < 8):
            raise DataError(
                f"{self.where(at)}: expected the number of faces of '{self.lines[at - 1]:.80}', got "
                f"{text!r:.80}"
            )
        return int(text)

    def faces(self, name: str, lines: range) -> None:
        row = len(self.images)
        # One that can't be read leaves its faces without an image.
        image = -1 if self.images.add_file(name, Path(name).with_suffix("").as_posix()) is None else row
        for line in lines:
            words = self.lines[line].split()
            try:
                if len(words) != 4 + _ATTRIBUTES:
                    raise ValueError
                x, y, width, height, *attributes = map(int, words)
                invalid = attributes[_INVALID] != 0 or min(width, height) < self.smallest
                box = (x, y, x + width, y + height)
                self.objects.add(image, 0, box, crowd=invalid, id=line)
            except (ValueError, OverflowError):
                raise DataError(
                    f"{self.where(line)}: expected 10 whole numbers: x, y, width, height and six attributes; "
                    f"got {self.lines[line]!r:.80}"
                ) from None
