"""Reading videos from disk, whatever stands in the file."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from omma.data import torchcodec_frames
from omma.data.images import MAX_PIXELS
from omma.errors import DataError

MAX_FRAMES = 2**22
"""Longer videos are refused (39 hours at 30 frames a second): a small file can claim any length."""

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,h264,hevc,m4v,ivf,"
    "mxf,rm,dv,gif,nut,wtv,mjpeg"
)
"""Playlists and series of pictures are not among them: they name other files."""
_INDEXED = ("mp4", "matroska")
"""Of others torchcodec doesn't always find the frames that are asked for."""
_UNSEEKABLE = ("mpeg",)
"""MPEG program streams, read from the front: times behind a place that was looked up are guesses."""
_FASTEST, _USUAL = 1000.0, 25.0
_UNIT = 1 << 16
"""What stands for 1 in a display matrix."""


class Shown(NamedTuple):
    """One frame of a video."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB, upright."""
    rate: float
    """Frames per second of the video, on average; 25 where the file tells nonsense."""
    time: float
    """Seconds since the first frame."""


def read_video(path: str | Path) -> Iterator[Shown]:
    """Each frame, decoded as it is asked for, in the order in which they are shown.

    Of a file that was cut off those before the cut are given, and a warning says how many there should be.

    Raises:
        DataError: no video that can be decoded, a frame of too many pixels, or too many frames.
    """
    container, stream = _opened(path)
    with container, _told(path):
        claim = _claim(container, stream)
        _check_length(path, claim.frames)
        # One video at a time: threads of its own make it faster.
        stream.thread_type = "AUTO"
        rate, convert = _rate(stream), VideoReformatter()
        first, time, number = None, 0.0, 0
        frames = _decoded(container, stream)
        while (frame := _next(frames)) is not None:
            image = _picture(path, frame, convert)
            tick, unit = frame.pts, stream.time_base
            time = number / rate if tick is None or unit is None else float(tick * unit)
            first = time if first is None else first
            number += 1
            _check_length(path, number)
            yield Shown(image, rate, time - first)
    if not number:
        raise _no_frames(path)
    if lack := claim.lack(number, time - (first or 0)):
        warnings.warn(f"{path}: is damaged or cut off: {lack} found", stacklevel=2)


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """All frames that can be decoded: after a damaged packet others may be whole."""
    for packet in container.demux(stream):
        with contextlib.suppress(InvalidDataError):
            yield from packet.decode()


def _next(frames: Iterator[VideoFrame]) -> VideoFrame | None:
    try:
        return next(frames, None)
    except FFmpegError:
        return None


class VideoFile:
    """A video of which single frames are decoded.

    How many frames there are and when each is shown is read off the packets of the file, of which none is
    decoded for it. A frame's number is its place in the order in which they are shown, so videos of variable
    frame rate have the right ones. Where torchcodec is installed, it decodes what it can.

    Args:
        path: of the file.

    Raises:
        DataError: it is missing, no video, has no pictures or too many or too large ones, or was cut off.
    """

    times: np.ndarray
    """(total,) float64 seconds since the first frame."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.container, self.stream = _opened(path)
        # Workers decode side by side: one thread each.
        self.stream.codec_context.thread_count = 1
        with _told(path):
            claim = _claim(self.container, self.stream)
            _check_length(path, claim.frames)
            packets = [
                (packet.pts, packet.dts, packet.is_keyframe, packet.is_discard)
                for packet in self.container.demux(self.stream)
                if packet.size and not packet.is_corrupt
            ]
        _check_length(path, len(packets))
        self.rate = _rate(self.stream)
        self._index(packets)
        if not self.total and not claim.frames:
            raise _no_frames(path)
        lack = claim.lack(len(packets), float(self.times[-1]) if self.total else 0.0)
        if lack and claim.frames:
            raise DataError(
                f"{path}: expected a whole video, found one that is damaged or cut off: {lack}; fetch it "
                "again or leave it out"
            )
        if lack:
            warnings.warn(f"{path}: is damaged or cut off: {lack} found", stacklevel=2)

    def _index(self, packets: list[tuple[int | None, int | None, bool, bool]]) -> None:
        """Find out where each frame lies and where decoding must begin for it."""
        stamps = [pts for pts, _, _, _ in packets if pts is not None]
        shown = [place for place, (_, _, _, hidden) in enumerate(packets) if not hidden]
        self.total = len(shown)
        self.timed = len(set(stamps)) == len(packets)
        """Whether frames are known by their time; else they are counted from the front."""
        if not self.timed:
            self.times = np.arange(self.total) / self.rate
            return
        self.stamps = np.array(stamps, np.int64)
        self.dts = [pts if dts is None else dts for pts, (_, dts, _, _) in zip(stamps, packets)]
        self.place_of = {pts: place for place, pts in enumerate(stamps)}
        self.places = np.array(sorted(shown, key=stamps.__getitem__), np.int64)
        ticks = self.stamps[self.places]
        self.times = (ticks - ticks[:1]) * float(self.stream.time_base or 0)
        if self.total > 1 and self.times[-1] / self.total > 1 / _FASTEST:
            self.rate = round((self.total - 1) / float(self.times[-1]), 3)
        self.starts: list[int] = []
        keys: list[int] = []
        for place, (_, _, key, _) in enumerate(packets):
            if key:
                keys.append(place)
            # A frame that is shown before the key frame it follows in the file looks at older ones.
            self.starts.append(next((k for k in reversed(keys) if stamps[k] <= stamps[place]), 0))
        if self.container.format.name in _UNSEEKABLE:
            self.starts = [0] * len(packets)

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Frames (N, H, W, 3) uint8 RGB at N positions, in any order and however often.

        Only what these need is decoded: from the key frame before each on, and no frame that none of them
        looks at.

        Raises:
            DataError: they can't be decoded.
        """
        wanted, order = np.unique(positions, return_inverse=True)
        images = None
        if self.timed and any(form in self.container.format.name for form in _INDEXED):
            images = torchcodec_frames.read(self.path, wanted, self.total)
        if images is None:
            with _told(self.path):
                images = self._decode(wanted.tolist())
        for number, image in zip(wanted.tolist(), images):
            if image.shape != images[0].shape:
                raise DataError(
                    f"{self.path}: expected frames of {images[0].shape[1]} x {images[0].shape[0]} pixels, "
                    f"frame {number} has {image.shape[1]} x {image.shape[0]}; convert the video to one size"
                )
        return np.stack(images)[order.ravel()]

    def _decode(self, wanted: list[int]) -> list[np.ndarray]:
        """Frames at rising positions."""
        convert, found = VideoReformatter(), {}
        frames = self._by_time(wanted) if self.timed else self._by_count(wanted)
        for number, frame in frames:
            found[number] = _picture(self.path, frame, convert)
        missing = [number for number in wanted if number not in found]
        if missing:
            raise DataError(
                f"{self.path}: frame {missing[0]} of {self.total} can't be decoded; the file is damaged, "
                "fetch it again or leave it out"
            )
        return [found[number] for number in wanted]

    def _by_count(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their numbers, counted from the front."""
        frames, left = self._from(0), set(wanted)
        for number, frame in enumerate(_of_packets(frames)):
            if number in left:
                yield number, frame
                left.remove(number)
            if not left:
                return

    def _by_time(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their numbers, from the key frames before them on."""
        groups: dict[int, dict[int, int]] = {}
        for number in wanted:
            place = int(self.places[number])
            groups.setdefault(self.starts[place], {})[place] = number
        for start, numbers in groups.items():
            for frame in self._group(start, numbers):
                place = self._place(frame, -1)
                if place in numbers:
                    yield numbers[place], frame

    def _group(self, start: int, needed: Collection[int]) -> Iterator[VideoFrame]:
        """Frames of packets at the places ``needed``, among others, from the key frame at ``start`` on."""
        context, last, skipped = self.stream.codec_context, max(needed), None
        for packet in self._from(start):
            if packet.pts is None and not packet.size:
                # The end of the file: the decoder is emptied below.
                break
            place = self._place(packet, -1)
            # Frames that no other looks at are not decoded.
            skip = "DEFAULT" if place in needed else "NONREF"
            if skip != skipped:
                context.skip_frame = skipped = skip
            yield from packet.decode()
            if place >= last:
                break
        # What the decoder holds back, as frames aren't shown in the order of their packets.
        yield from context.decode(None)

    def _place(self, part: Packet | VideoFrame, unknown: int) -> int:
        """Of a packet in the file, or of that of a frame."""
        return unknown if part.pts is None else self.place_of.get(part.pts, unknown)

    def _from(self, start: int) -> Iterator[Packet]:
        """Packets from the one at place ``start`` on, or from some place before it."""
        if self.timed:
            # Some formats find places by the time of showing, others by that of decoding.
            for offset in (int(self.stamps[start]), self.dts[start]):
                self.container.seek(offset, stream=self.stream)
                packets = self.container.demux(self.stream)
                first = next(packets, None)
                if first is not None and self._place(first, start + 1) <= start:
                    return chain([first], packets)
        self.container, self.stream = _opened(self.path)
        self.stream.codec_context.thread_count = 1
        return self.container.demux(self.stream)


def _of_packets(packets: Iterator[Packet]) -> Iterator[VideoFrame]:
    for packet in packets:
        yield from packet.decode()


def _opened(path: str | Path) -> tuple[InputContainer, VideoStream]:
    """The file and its pictures.

    Raises:
        DataError: it is missing, no video, or has no or too large pictures.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    with _told(path):
        # As a path that can't be taken for an address, in a format that can't name other files.
        place = f"file:{Path(path).absolute()}"
        container = av.open(place, options={"format_whitelist": _FORMATS}, metadata_errors="ignore")
        streams = [
            stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            found = "sound without pictures" if container.streams.audio else "neither pictures nor sound"
            raise DataError(f"{path}: expected a video, found {found}; leave it out")
        if streams[0].codec_context is None:
            raise DataError(f"{path}: is no video that can be decoded: of an unknown kind; is it damaged?")
        _check_size(path, streams[0].codec_context.height, streams[0].codec_context.width)
    return container, streams[0]


@contextlib.contextmanager
def _told(path: str | Path) -> Iterator[None]:
    """Says what of FFmpeg's errors the user needs to know.

    Raises:
        DataError: in the place of these.
    """
    try:
        yield
    except FFmpegError as error:
        raise DataError(
            f"{path}: is no video that can be decoded ({error.strerror}); is it damaged? Fetch it again or "
            "leave it out"
        ) from None


class _Claim(NamedTuple):
    """What a file says of its own length."""

    frames: int
    """Zero where it doesn't count them."""
    exact: bool
    """Whether there must be just so many."""
    seconds: float

    def lack(self, frames: int, seconds: float) -> str | None:
        """What there is of it in words, if that is too little."""
        if self.frames:
            lacking = frames < (self.frames if self.exact else 0.9 * self.frames - 2)
            return f"{frames} of {self.frames} frames" if lacking else None
        # The sound may be somewhat longer than the pictures.
        lacking = seconds < 0.9 * self.seconds - 0.5
        return f"{seconds:.1f} of {self.seconds:.1f} seconds" if lacking else None


def _claim(container: InputContainer, stream: VideoStream) -> _Claim:
    exact = "mp4" in container.format.name
    frames = len(stream.index_entries) if exact else stream.frames
    return _Claim(frames, exact, (container.duration or 0) / av.time_base)


def _rate(stream: VideoStream) -> float:
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    return rate if 0 < rate <= _FASTEST else _USUAL


def _picture(path: str | Path, frame: VideoFrame, convert: VideoReformatter) -> np.ndarray:
    """(H, W, 3) RGB, upright."""
    _check_size(path, frame.height, frame.width)
    image = convert.reformat(frame, format="rgb24").to_ndarray()
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return image
    matrix = np.frombuffer(bytes(side), np.int32)
    return np.ascontiguousarray(upright(image, matrix[[0, 1, 3, 4]].reshape(2, 2) / _UNIT))


def upright(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(H, W, 3) image as a display matrix wants it seen, to the nearest quarter of a turn.

    Args:
        image: as it is stored.
        matrix: (2, 2), from (x, y) in it, as a row and y downwards, to directions on the screen.
    """
    if np.abs(matrix[0, 0]) + np.abs(matrix[1, 1]) >= np.abs(matrix[0, 1]) + np.abs(matrix[1, 0]):
        across, down = matrix[0, 0], matrix[1, 1]
    else:
        image = image.swapaxes(0, 1)
        across, down = matrix[1, 0], matrix[0, 1]
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def _no_frames(path: str | Path) -> DataError:
    return DataError(
        f"{path}: is no video that can be decoded: it has no frame; is it damaged? Fetch it again or leave "
        "it out"
    )


def _check_size(path: str | Path, height: float, width: float) -> None:
    if height * width > MAX_PIXELS:
        raise DataError(
            f"{path}: expected frames of at most {MAX_PIXELS} pixels, found {width:.0f} x {height:.0f}; "
            "scale the video down"
        )


def _check_length(path: str | Path, frames: float) -> None:
    if frames > MAX_FRAMES:
        raise DataError(f"{path}: expected at most {MAX_FRAMES} frames, found {frames:.0f}; cut the video")
