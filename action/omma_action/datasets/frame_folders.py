"""Clips whose frames are pictures in a folder of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omma.data.images import read_image
from omma.data.paths import under
from omma.data.transforms import AnyTransform
from omma.data.videos import MAX_FRAMES
from omma.errors import DataError
from omma.registry import register
from omma_action.datasets.clips import ClipDataset, ClipSource, Entry, read_list
from omma_action.datasets.sampling import Sampling


@register
class FrameFolders(ClipDataset):
    """Folders of pictures, by a list with a line ``name frames label``, or more labels, for each.

    Args:
        annotations: the list.
        folder: of the folders, which names are relative to.
        root: folder of both; null: they stand for themselves.
        template: name of a picture, with its number: ``{:05}.jpg``.
        first: number of the first picture.
        rate: pictures a second.
        classes: names in label order; null: numbers.
        num_classes: C.
        sampling: which frames are looked at.
        transforms: applied to each sample.

    Raises:
        DataError: the list can't be read, or is wrong.
        ValueError: ``classes`` and ``num_classes`` differ, or ``template`` hasn't one place for a number.
    """

    def __init__(
        self,
        *,
        annotations: str,
        folder: str,
        root: str | None = None,
        template: str = "img_{:05}.jpg",
        first: int = 1,
        rate: float = 25.0,
        classes: tuple[str, ...] | None = None,
        num_classes: int,
        sampling: Sampling,
        transforms: Sequence[AnyTransform] = (),
    ) -> None:
        if not _is_template(template):
            raise ValueError(
                f"template needs one place for a number, as in 'img_{{:05}}.jpg'; got {template!r}"
            )
        entries = read_list(root, annotations)
        super().__init__(
            entries,
            [entry.numbers[1:] for entry in entries],
            classes=classes,
            num_classes=num_classes,
            folder=under(root, folder),
            sampling=sampling,
            transforms=transforms,
        )
        self.template, self.first, self.rate = template, first, rate
        self.totals = np.array([_total(entry) for entry in entries], np.int32)

    def open(self, index: int) -> ClipSource:
        """See ``ClipDataset``."""
        return Pictures(self.path(index), self.template, self.first, int(self.totals[index]), self.rate)


class Pictures:
    """Numbered pictures of one size in a folder."""

    def __init__(self, folder: Path, template: str, first: int, total: int, rate: float) -> None:
        self.folder, self.template, self.first = folder, template, first
        self.total, self.rate = total, rate

    def read(self, positions: np.ndarray) -> np.ndarray:
        """See ``ClipSource``.

        Raises:
            DataError: a picture is missing, can't be decoded, or has another size than the first one.
        """
        wanted, places = np.unique(positions, return_inverse=True)
        paths = [self.folder / self.template.format(number + self.first) for number in wanted.tolist()]
        images = [read_image(path).permute(1, 2, 0).numpy() for path in paths]
        for path, image in zip(paths, images):
            if image.shape != images[0].shape:
                raise DataError(
                    f"{path}: expected {images[0].shape[:2]} pixels as before, got {image.shape[:2]}"
                )
        return np.stack(images)[places.ravel()]


def _is_template(text: str) -> bool:
    try:
        return text.format(1) != text.format(2)
    except (ValueError, LookupError):
        return False


def _total(entry: Entry) -> int:
    if not 1 <= entry.numbers[0] <= MAX_FRAMES:
        raise DataError(
            f"{entry.where}: expected 1 to {MAX_FRAMES} frames, and labels, behind the name, found "
            f"{entry.numbers[0]} frames"
        )
    return entry.numbers[0]
