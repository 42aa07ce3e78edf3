"""Where images to predict on come from: files, folders, patterns, videos, arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from omma.data.videos import read_video
from omma.errors import DataError
from omma.visualization import read_rgb

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jp2", ".ppm", ".pgm"}
)
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})

_ORIENTATION = 0x0112

Source = str | Path | np.ndarray | Sequence[str | Path | np.ndarray]


@dataclass(frozen=True)
class Frame:
    """One image and where it is from."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    path: str
    """Of the image or video; ``array N`` for an array."""
    number: int | None = None
    """Frame of the video, from 0; None for an image."""
    fps: float | None = None
    """Frames per second of the video, on average."""
    time: float | None = None
    """Seconds since the first frame of the video."""


@dataclass
class FrameSource:
    """Reads its images one after the other while it is iterated over."""

    items: list[str | Path | np.ndarray]
    on_error: Literal["skip", "raise"] = "raise"
    skipped: list[str] = field(default_factory=list)
    """What was wrong with the files that were left out in the last pass."""

    def __iter__(self) -> Iterator[Frame]:
        """Every image and every frame of every video.

        Raises:
            DataError: a file can't be decoded, unless ``on_error`` is ``skip``.
        """
        self.skipped = []
        for number, item in enumerate(self.items):
            try:
                yield from _frames(item, number)
            except DataError as error:
                if self.on_error == "raise":
                    raise
                self.skipped.append(str(error))
                warnings.warn(f"left out: {error}", stacklevel=2)


def open_source(source: Source | FrameSource, *, on_error: Literal["skip", "raise"] = "raise") -> FrameSource:
    """Find the images that ``source`` means; none is read yet. One that is open already stays as it is.

    Args:
        source: an image or video file, a folder (all images and videos in it and below), a pattern such as
            ``shots/*.jpg``, an (H, W, 3) or (H, W) uint8 RGB array, or a sequence of such.
        on_error: whether a file that can't be decoded is left out and counted, or ends everything.

    Raises:
        DataError: nothing is there, or it is neither image nor video.
    """
    if isinstance(source, FrameSource):
        return source
    parts: Iterable[str | Path | np.ndarray] = (
        [source] if isinstance(source, str | Path | np.ndarray) else source
    )
    items = [item for part in parts for item in _expand(part)]
    if not items:
        raise DataError("there is nothing to predict on: the list of images is empty")
    return FrameSource(items, on_error)


def _expand(source: str | Path | np.ndarray) -> list[str | Path | np.ndarray]:
    if isinstance(source, np.ndarray):
        return [source]
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            known = _listed(IMAGE_SUFFIXES | VIDEO_SUFFIXES)
            raise DataError(f"{path}: neither an image nor a video; known are {known}")
        return [path]
    if path.is_dir():
        found = _media(path.rglob("*"))
        if not found:
            raise DataError(f"{path}: the folder holds no image ({_listed(IMAGE_SUFFIXES)}) or video")
        return found
    if has_magic(str(source)):
        found = _media(map(Path, glob(str(source), recursive=True)))
        if not found:
            raise DataError(f"{source}: no image or video matches this pattern")
        return found
    raise DataError(f"{path}: no such file or folder (seen from {Path.cwd()})")


def _media(paths: Iterable[Path]) -> list[str | Path | np.ndarray]:
    return [
        path
        for path in sorted(paths)
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and path.is_file()
    ]


def _frames(item: str | Path | np.ndarray, number: int) -> Iterator[Frame]:
    if isinstance(item, np.ndarray):
        yield Frame(_checked(item, number), f"array {number}")
    elif Path(item).suffix.lower() in VIDEO_SUFFIXES:
        for number, shown in enumerate(read_video(item)):
            yield Frame(shown.image, str(item), number, shown.rate, shown.time)
    else:
        yield Frame(_upright(read_rgb(item), item), str(item))


def _upright(image: np.ndarray, path: str | Path) -> np.ndarray:
    """The image as its orientation tag (EXIF) wants it seen: cameras store what they see lying."""
    with Image.open(path) as file:
        tag = file.getexif().get(_ORIENTATION, 1)
    # Values 5 to 8 mirror along the diagonal first.
    image = image.swapaxes(0, 1) if 5 <= tag <= 8 else image
    across, down = tag in (2, 3, 6, 7), tag in (3, 4, 7, 8)
    return image[:: -1 if down else 1, :: -1 if across else 1]


def _checked(image: np.ndarray, number: int) -> np.ndarray:
    if (
        image.dtype != np.uint8
        or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
        or not image.size
    ):
        raise DataError(
            f"array {number}: expected a uint8 RGB image of shape (H, W, 3), got {image.dtype} {image.shape}"
        )
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def _listed(suffixes: Iterable[str]) -> str:
    return " ".join(sorted(suffixes))
