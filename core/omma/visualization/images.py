"""RGB pictures from and to files, whatever characters their paths have."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from omma.data.images import read_image
from omma.errors import SetupError


def read_rgb(path: str | Path) -> np.ndarray:
    """The image in a file as (H, W, 3) uint8 RGB, its pixels as they are stored.

    Raises:
        DataError: as ``omma.data.images.read_image``.
    """
    return read_image(path).permute(1, 2, 0).numpy()


def write_rgb(path: str | Path, image: np.ndarray, *, quality: int = 90) -> None:
    """Write (H, W, 3) uint8 RGB in the form that the suffix of ``path`` names.

    Raises:
        SetupError: the folder can't be written to.
    """
    data = encode_rgb(image, Path(path).suffix, quality=quality)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)
    except OSError as error:
        raise SetupError(f"{path}: can't be written: {error.strerror}") from error


def encode_rgb(image: np.ndarray, suffix: str = ".jpg", *, quality: int = 90) -> bytes:
    """(H, W, 3) uint8 RGB -> the bytes of an image file.

    Raises:
        ValueError: OpenCV writes no files of this suffix.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix.lower() in (".jpg", ".jpeg") else []
    try:
        done, data = cv2.imencode(suffix, image[..., ::-1], options)
    except cv2.error as error:
        raise ValueError(f"no image format is called '{suffix}'") from error
    if not done:
        raise ValueError(f"an image of shape {image.shape} can't be written as '{suffix}'")
    return data.tobytes()
