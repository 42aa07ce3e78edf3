"""Reading images from disk, whatever stands in the file."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor
from torchvision import tv_tensors

from omma.errors import DataError

MAX_PIXELS = 2**28
"""Larger images are refused before they are decoded: a small file can claim any size."""

_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_LABEL_MODES = ("1", "L", "P", "I", "I;16", "I;16B")
_JPEG, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_PNG, _PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"


def read_image(path: str | Path) -> tv_tensors.Image:
    """The image in a file as RGB uint8 (3, H, W); memory lies in (H, W, 3) order, no copy is made.

    Grey and palette images get three channels, transparency is dropped, 16 bits become 8. An orientation tag
    (EXIF) is ignored: annotation files give sizes and coordinates of the pixels as they are stored.

    Raises:
        DataError: the file is missing, empty, cut off, too large, or no image of whole numbers.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    _check_header(path, io.BytesIO(data))
    _check_end(path, data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(
            f"{path}: expected an image, found {len(data)} bytes with the header of one that can't be "
            "decoded; the file is damaged, fetch it again or leave it out"
        )
    return tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))


def read_label_map(path: str | Path, *, colours: bool = False) -> Tensor:
    """The numbers in an image that has one per pixel, (H, W) int32: classes, or objects.

    Grey images give their values, in 8, 16 or 32 bits; palette images the numbers of their colours, as those
    of Pascal VOC are meant. Where ``colours`` are what is meant, each pixel of any image gives its
    red * 65536 + green * 256 + blue, 0xFF8000 for orange.

    Raises:
        DataError: as ``read_image``, or the image has several channels that aren't ``colours``.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    _check_header(path, io.BytesIO(data))
    _check_end(path, data)
    try:
        image = PILImage.open(io.BytesIO(data))
        if colours:
            red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.int32), -1, 0)
            return torch.from_numpy(red << 16 | green << 8 | blue)
        if image.mode not in _LABEL_MODES:
            raise DataError(
                f"{path}: expected one number per pixel (a grey or a palette image), found one of mode "
                f"{image.mode}; if its colours stand for classes, say which in the label map, where the data "
                "set has one (colours: true), or write numbers in their place"
            )
        return torch.from_numpy(np.array(image).astype(np.int32))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{path}: expected an image, found one that can't be decoded: {error}") from None


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) as ``read_image`` would give them, from the file's header alone.

    Raises:
        DataError: the file is missing, empty, too large, or no image.
    """
    try:
        with Path(path).open("rb") as file:
            return _check_header(path, file)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | Path, error: OSError) -> DataError:
    return DataError(f"{path}: expected an image file, but it can't be read: {error.strerror or error}")


def _check_header(path: str | Path, file: BinaryIO) -> tuple[int, int]:
    """(H, W) that the header claims; no pixel is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
            header = PILImage.open(file)
    except PILImage.DecompressionBombError:
        raise DataError(f"{path}: expected at most {MAX_PIXELS} pixels, the header claims more") from None
    except (OSError, ValueError, SyntaxError, EOFError):
        size = file.seek(0, io.SEEK_END)
        found = f"{size} bytes of another kind, or cut off" if size else "an empty file"
        raise DataError(
            f"{path}: expected an image (JPEG, PNG, WebP, BMP, TIFF ...), found {found}; fetch it again or "
            "leave it out"
        ) from None
    width, height = header.size
    if height * width > MAX_PIXELS:
        raise DataError(
            f"{path}: expected at most {MAX_PIXELS} pixels, found {width} x {height}; tile the image"
        )
    if header.mode == "F":
        raise DataError(f"{path}: expected pixels of 8 or 16 bits, found 32-bit floats; convert the image")
    return height, width


def _check_end(path: str | Path, data: bytes) -> None:
    """Refuse files that were cut off: decoders fill the missing rows with grey and say nothing."""
    if data.startswith(_JPEG):
        # Neither marker can occur in coded pixels. A thumbnail has an end marker too, but before the scan;
        # cameras and archives append bytes of their own after it.
        whole = data.endswith(_JPEG_END) or data.rfind(_JPEG_END) > data.rfind(_JPEG_SCAN)
    else:
        whole = not data.startswith(_PNG) or _PNG_END in data
    if not whole:
        raise DataError(
            f"{path}: expected a whole image, found one cut off after {len(data)} bytes (no end marker); "
            "fetch it again or leave it out"
        )
