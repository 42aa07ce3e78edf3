"""Videos made by PyAV whose frames tell their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 64, 48


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(H, W, 3) RGB: the number as eight black or white fields in the upper half; below, red and green."""
    image = np.zeros((height, width, 3), np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            image[: height // 2, bit * width // 8 : (bit + 1) * width // 8] = 255
    image[height // 2 :, : width // 2, 0] = 255
    image[height // 2 :, width // 2 :, 1] = 255
    return image


def number_of(image: np.ndarray) -> int:
    """The number that a picture shows."""
    height, width = image.shape[:2]
    middles = [(2 * bit + 1) * width // 16 for bit in range(8)]
    return sum(1 << bit for bit, x in enumerate(middles) if image[height // 4, x].mean() > 127)


def write_video(
    path: Path,
    frames: int = 60,
    *,
    codec: str = "libx264",
    gop: int = 12,
    times: Sequence[int] | None = None,
    rotation: int = 0,
    **options: str,
) -> Path:
    """Frames of 64 x 48 pixels at 25 a second, or at given times in thousandths of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if codec == "mjpeg":
            stream.pix_fmt = "yuvj420p"
        stream.codec_context.gop_size = gop
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = number if times is None else times[number]
            if times is not None:
                frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
