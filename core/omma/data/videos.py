"""Reading videos from disk, whatever stands in the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from omma.data.images import MAX_PIXELS
from omma.errors import DataError

MAX_FRAMES = 2**22
"""Longer videos are refused (39 hours at 30 frames a second): a small file can claim any length."""

_FASTEST, _USUAL = 1000.0, 25.0


def read_video(path: str | Path) -> Iterator[tuple[np.ndarray, float]]:
    """Each frame as (H, W, 3) uint8 RGB, and the frames per second (25 where the file tells nonsense).

    Frames are decoded one by one as they are asked for. Of a file that was cut off those before the cut are
    given, and a warning says how many there should be.

    Raises:
        DataError: no video that can be decoded, a frame of too many pixels, or too many frames.
    """
    # Other backends take digits in a name for the first of many pictures.
    ours = cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG if ours else cv2.CAP_ANY)
    try:
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        claimed, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        _check_size(path, height, width)
        _check_length(path, claimed)
        number = 0
        while (image := _next(capture)) is not None:
            _check_size(path, *image.shape[:2])
            number += 1
            _check_length(path, number)
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB), rate if 0 < rate <= _FASTEST else _USUAL
    finally:
        capture.release()
    if not number:
        raise DataError(f"{path}: is no video that can be decoded; is it damaged?")
    # Some forms don't count their frames but guess from the length in time.
    if number < 0.9 * claimed - 2:
        warnings.warn(f"{path}: is damaged or cut off: {number} of {claimed:.0f} frames found", stacklevel=2)


def _next(capture: cv2.VideoCapture) -> np.ndarray | None:
    try:
        done, image = capture.read()
    except cv2.error:  # no memory for a frame, or one of a kind that OpenCV doesn't convert
        return None
    return image if done else None


def _check_size(path: str | Path, height: float, width: float) -> None:
    if height * width > MAX_PIXELS:
        raise DataError(
            f"{path}: expected frames of at most {MAX_PIXELS} pixels, found {width:.0f} x {height:.0f}; "
            "scale the video down"
        )


def _check_length(path: str | Path, frames: float) -> None:
    if frames > MAX_FRAMES:
        raise DataError(f"{path}: expected at most {MAX_FRAMES} frames, found {frames:.0f}; cut the video")
