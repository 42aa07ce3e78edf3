"""RGB pictures from and to files, whatever characters their paths have."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from omma.errors import DataError, SetupError


def read_rgb(path: str | Path) -> np.ndarray:
    """The image at ``path`` as (H, W, 3) uint8 RGB; grey, 16-bit and transparent ones are converted.

    The orientation written by cameras (EXIF) is applied.

    Raises:
        DataError: there is no such file, or it is no image that can be decoded.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise DataError(f"{path}: is no image that can be decoded ({data.size} bytes); is it damaged?")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


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
