"""Images of annotation files that don't say how large they are."""

from __future__ import annotations

from pathlib import Path

from omma.data.annotations import Report
from omma.data.columns import ImageColumns
from omma.data.images import image_size
from omma.errors import DataError


class ImagesOnDisk(ImageColumns):
    """Images whose sizes are read from their files' headers.

    Args:
        folder: what their paths are relative to.
        report: takes the number of those that can't be read.
        skip: leave those out; otherwise they are an error.
    """

    def __init__(self, folder: Path, report: Report, *, skip: bool) -> None:
        super().__init__()
        self.folder, self.report, self.skip = folder, report, skip

    def add_file(self, path: str, id: int | str) -> tuple[int, int] | None:
        """Append an image; its height and width, or None if it was left out.

        Raises:
            DataError: it can't be read.
        """
        try:
            size = image_size(self.folder / path)
        except DataError as error:
            if not self.skip:
                raise
            self.report.note("images left out: they can't be read", str(error))
            return None
        self.add(path, id, *size)
        return size
