"""Stretches of videos that a model of clips looks at, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torchvision import tv_tensors

from omma.errors import SetupError
from omma.inference.results import Seen, Span
from omma.inference.tracking import Tracking, seconds, starts_anew


class FrameSampling(Protocol):
    """Which frames of a clip a model looks at; part of a data set of clips."""

    def frames(self, total: int, rate: float) -> np.ndarray:
        """(V, T) positions among ``total`` frames, ``rate`` a second."""
        ...


@dataclass(frozen=True)
class Window:
    """A stretch of a video that gets one label."""

    shown: Sequence[Seen]
    """Its frames."""
    looked: Sequence[Seen]
    """These, and those around them that are looked at, too."""
    span: Span


@dataclass(frozen=True, kw_only=True)
class ClipFeed:
    """How a model that sees clips is fed with the frames of a video.

    The video is cut into stretches of equal length, each of which gets one label. A rest shorter than half of
    one belongs to the last. Frames are held back until their stretch is complete.

    Raises:
        ValueError: a number is out of its range.
    """

    every: float = 2.0
    """Seconds of a stretch."""
    around: float = 0.0
    """Seconds before and behind it that are looked at, too."""
    tracking: Tracking = field(default_factory=Tracking)
    """What tells whose key points belong together, for models that look at skeletons."""

    def __post_init__(self) -> None:
        if self.every <= 0 or self.around < 0:
            raise ValueError(
                f"expected every above 0 and around from 0 on, got {self.every} and {self.around}"
            )

    def windows(self, found: Iterable[Seen]) -> Iterator[Window]:
        """The stretches of all videos; each frame is shown in one of them, in order.

        Raises:
            SetupError: there is an image that belongs to no video.
        """
        held: list[Seen] = []
        number, last = 0, None
        for seen in found:
            if seen.frame.number is None:
                raise SetupError(
                    f"{seen.path} is a single image, but the model looks at clips: give it videos"
                )
            if last is not None and starts_anew(seen.frame, last):
                yield from self._rest(held, number)
                held, number = [], 0
            last, now = seen.frame, seconds(seen.frame)
            while now >= (number + 1) * self.every + max(self.around, self.every / 2):
                yield from self._window(held, number, (number + 1) * self.every)
                number += 1
                held = [each for each in held if seconds(each.frame) >= number * self.every - self.around]
            held.append(seen)
        yield from self._rest(held, number)

    def _rest(self, held: Sequence[Seen], number: int) -> Iterator[Window]:
        """Stretches from ``number`` on to the end of the video."""
        if not held:
            return
        last = held[-1].frame
        end = seconds(last) + 1 / (last.fps or 25.0)
        while end - (number + 1) * self.every >= self.every / 2:
            yield from self._window(held, number, (number + 1) * self.every)
            number += 1
        yield from self._window(held, number, end)

    def _window(self, held: Sequence[Seen], number: int, end: float) -> Iterator[Window]:
        """The stretch up to ``end``, if any frame is shown in it."""
        start, times = number * self.every, [seconds(seen.frame) for seen in held]
        shown = [seen for seen, time in zip(held, times) if start <= time < end]
        near = [s for s, time in zip(held, times) if start - self.around <= time < end + self.around]
        if shown:
            yield Window(shown, near, Span(round(start, 3), round(end, 3)))


def video_of(window: Window, sampling: FrameSampling) -> dict[str, Any]:
    """What a sample has that shows the frames of a window: (V, T, 3, H, W)."""
    frames = [seen.frame for seen in window.looked]
    lasts = seconds(frames[-1]) - seconds(frames[0])
    chosen = sampling.frames(len(frames), (len(frames) - 1) / lasts if lasts > 0 else frames[0].fps or 25.0)
    pixels = torch.from_numpy(np.stack([frames[i].image for i in chosen.ravel().tolist()]))
    return {"video": tv_tensors.Video(pixels.permute(0, 3, 1, 2).unflatten(0, chosen.shape))}


def skeletons_of(window: Window) -> dict[str, Any] | None:
    """What a sample has that shows the tracked key points of a window: (1, M, T, K, 3); none without anybody.

    Of M persons those come first whose key points were found best in most frames.
    """
    rows: dict[int, int] = {}
    for seen in window.looked:
        for number in seen.prediction["tracks"].tolist():
            rows.setdefault(number, len(rows))
    if not rows:
        return None
    skeleton = window.looked[0].info.skeleton
    assert skeleton is not None
    joints = torch.zeros(len(rows), len(window.looked), len(skeleton.names), 3)
    for time, seen in enumerate(window.looked):
        for i, number in enumerate(seen.prediction["tracks"].tolist()):
            joints[rows[number], time, :, :2] = seen.prediction["keypoints"][i]
            joints[rows[number], time, :, 2] = seen.prediction["keypoint_scores"][i]
    order = joints[..., 2].sum(dim=(1, 2)).argsort(descending=True, stable=True)
    return {"skeleton": joints[order][None], "canvas": window.looked[0].frame.image.shape[:2]}
