"""Reading images from disk, whatever stands in the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision import tv_tensors

from omma.errors import DataError

MAX_PIXELS = 2**28
"""Larger images are refused before they are decoded: a small file can claim any size."""

_READ = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def read_image(path: str | Path) -> tv_tensors.Image:
    """The image in a file as RGB uint8 (3, H, W); memory lies in (H, W, 3) order, no copy is made.

    Grey and palette images get three channels, transparency is dropped, 16 bits become 8. An orientation tag
    is ignored, because annotations count the pixels as they are stored.

    Raises:
        DataError: the file is missing, empty, cut off, too large, or no image.
    """
    data = _bytes(path)
    if data[:2] == _JPEG:
        if _JPEG_END not in data[-4096:]:
            raise DataError(f"{path}: a JPEG that was cut off: it has no end marker")
        _refuse_huge(path, data)
        image = cv2.imdecode(data_array(data), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    else:
        _refuse_huge(path, data)
        image = _to_rgb(cv2.imdecode(data_array(data), _READ))
    if image is None:
        raise DataError(f"{path}: not an image that can be decoded ({len(data)} bytes)")
    return tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) from the file's header alone.

    Raises:
        DataError: the file is missing or no image.
    """
    return _header_size(path, _bytes(path))


def data_array(data: bytes) -> np.ndarray:
    """Bytes as the array that OpenCV decodes."""
    return np.frombuffer(data, np.uint8)


def _bytes(path: str | Path) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    if not data:
        raise DataError(f"{path}: the file is empty")
    return data


def _header_size(path: str | Path, data: bytes) -> tuple[int, int]:
    import io
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = Image.open(io.BytesIO(data)).size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not an image that can be decoded: {error}") from None
    return height, width


def _refuse_huge(path: str | Path, data: bytes) -> None:
    # A decoded pixel takes at least a thousandth of a byte in any format worth reading; only files that
    # could claim more pixels than the limit have their header parsed.
    if len(data) * 1000 < MAX_PIXELS and data[:2] == _JPEG:
        return
    height, width = _header_size(path, data)
    if height * width > MAX_PIXELS:
        raise DataError(f"{path}: {width} x {height} pixels are more than the limit of {MAX_PIXELS}")


def _to_rgb(image: np.ndarray | None) -> np.ndarray | None:
    """Whatever OpenCV decoded (BGR order) as (H, W, 3) RGB uint8."""
    if image is None:
        return None
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        return None
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)
