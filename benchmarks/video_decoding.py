"""Eight uniform frames of a clip against all of its frames.

    python benchmarks/video_decoding.py

A clip of 300 frames, 340 x 256, H.264, is made by PyAV: texture under a moving camera, with noise. Key
frames lie 12 or 32 frames apart, or as x264 chooses (at most 250). Both ways give RGB arrays and decode with
one thread, by turns; medians of the process' CPU seconds. Wanted: at least 3 times faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from omma.data.videos import VideoFile

FRAMES, WIDTH, HEIGHT, WANTED = 300, 340, 256, 8
GAPS = {"a key frame every 12": 12, "every 32": 32, "x264's key frames": None}


def write_clip(path: Path, gap: int | None) -> None:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (400, 520, 3)).astype(np.float32), (0, 0), 3)
    texture = cv2.normalize(texture, np.empty_like(texture), 0, 255, cv2.NORM_MINMAX)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if gap is not None:
            stream.codec_context.gop_size = gap
        for number in range(FRAMES):
            top, left = round(60 + 50 * np.sin(number / 20)), round(80 + 70 * np.cos(number / 17))
            view = texture[top : top + HEIGHT, left : left + WIDTH] + rng.normal(0, 3, (HEIGHT, WIDTH, 3))
            frame = av.VideoFrame.from_ndarray(view.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def some(path: Path) -> np.ndarray:
    video = VideoFile(path)
    part = video.total / WANTED
    return video.read((np.arange(WANTED) * part + part / 2).astype(np.int64))


def everything(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        convert = VideoReformatter()
        return [convert.reformat(each, format="rgb24").to_ndarray() for each in container.decode(stream)]


def seconds(work: Callable[[Path], Any], path: Path) -> float:
    start = time.process_time()
    work(path)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = range(parser.parse_args().rounds)
    for name, gap in GAPS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            write_clip(path, gap)
            pairs = [(seconds(some, path), seconds(everything, path)) for _ in rounds]
        few, every = (statistics.median(times) for times in zip(*pairs))
        print(
            f"{every / few:5.1f} times faster (wanted: at least 3)   "
            f"{1000 * few:4.0f} ms for {WANTED} frames, {1000 * every:4.0f} ms for {FRAMES}   {name}"
        )


if __name__ == "__main__":
    main()
