"""Frames of videos by torchcodec, where it is installed."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np


@cache
def _decoders() -> Any:
    """Its module; none where it isn't installed, or doesn't find the FFmpeg that it needs."""
    try:
        return importlib.import_module("torchcodec.decoders")
    # It looks for several versions of FFmpeg in turn, and tells of all that are missing in one RuntimeError.
    except (ImportError, RuntimeError, OSError):
        return None


def read(path: Path, wanted: np.ndarray, total: int) -> list[np.ndarray] | None:
    """Frames (H, W, 3) uint8 RGB, upright, at rising positions; none if it isn't there or can't read them.

    Args:
        path: of the video.
        wanted: (N,) positions in the order in which frames are shown.
        total: frames that there are; where torchcodec counts others, it isn't relied on.
    """
    if (module := _decoders()) is None:
        return None
    try:
        # Workers decode side by side: one thread each.
        decoder = module.VideoDecoder(
            str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact"
        )
        if len(decoder) != total:
            return None
        return list(decoder.get_frames_at(wanted.tolist()).data.numpy())
    except (RuntimeError, ValueError, IndexError):
        return None
