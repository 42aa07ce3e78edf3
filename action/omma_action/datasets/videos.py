"""Clips in video files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from omma.data.paths import under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma_action.datasets.clips import ClipDataset, ClipSource, read_list
from omma_action.datasets.sampling import Sampling

_USUAL_RATE = 25.0


@register
class VideoDataset(ClipDataset):
    """Video files, by a list with a line ``name label`` for each, or ``name label label ...``.

    Args:
        annotations: the list.
        folder: of the videos, which names are relative to.
        root: folder of both; null: they stand for themselves.
        classes: names in label order; null: numbers.
        num_classes: C.
        sampling: which frames are looked at.
        transforms: applied to each sample.

    Raises:
        DataError: the list can't be read, or is wrong.
        ValueError: ``classes`` and ``num_classes`` differ.
    """

    def __init__(
        self,
        *,
        annotations: str,
        folder: str,
        root: str | None = None,
        classes: tuple[str, ...] | None = None,
        num_classes: int,
        sampling: Sampling,
        transforms: Sequence[AnyTransform] = (),
    ) -> None:
        entries = read_list(root, annotations)
        super().__init__(
            entries,
            [entry.numbers for entry in entries],
            classes=classes,
            num_classes=num_classes,
            folder=under(root, folder),
            sampling=sampling,
            transforms=transforms,
        )

    def open(self, index: int) -> ClipSource:
        """See ``ClipDataset``."""
        return VideoFile(self.path(index))


class VideoFile:
    """A video, of which frames are decoded from the front up to the last one that is asked for; what isn't
    asked for isn't converted.

    Args:
        path: of the file.

    Raises:
        DataError: it is missing, or no video.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DataError(f"{path}: there is no such file")
        self.path = path
        self.capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        self.total = int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = self.capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate <= 1000 else _USUAL_RATE
        if not self.capture.isOpened() or self.total < 1:
            raise DataError(f"{path}: is no video with frames; is it damaged?")

    def read(self, positions: np.ndarray) -> np.ndarray:
        """See ``ClipSource``; in place of frames behind a cut comes the last one asked for before it."""
        wanted, places = np.unique(positions, return_inverse=True)
        found: list[np.ndarray] = []
        try:
            self.capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            for number in range(int(wanted[-1]) + 1):
                if not self.capture.grab():
                    break
                if number == wanted[len(found)]:
                    done, image = self.capture.retrieve()
                    if not done:
                        break
                    found.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        except cv2.error as error:
            raise DataError(f"{self.path}: can't be decoded: {error.err}") from None
        if not found:
            raise DataError(
                f"{self.path}: frame {wanted[0]} of {self.total} can't be decoded; is it damaged?"
            )
        if len(found) < len(wanted):
            warnings.warn(f"{self.path}: is damaged or cut off before frame {wanted[-1]}", stacklevel=2)
            places = np.minimum(places, len(found) - 1)
        return np.stack(found)[places.ravel()]
