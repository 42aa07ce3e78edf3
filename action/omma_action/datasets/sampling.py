"""Which frames of a clip a network looks at: known before any is decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch

from omma.data.transforms.base import choose
from omma.registry import register


class Sampling(ABC):
    """Draws from torch's global generator, which the loader seeds for each sample.

    Positions that would lie behind the end start again at the front.
    """

    @abstractmethod
    def frames(self, total: int, rate: float) -> np.ndarray:
        """(V, T) int64 positions in 0..total - 1 of the frames of each view.

        Args:
            total: frames of the clip, at least 1.
            rate: of these a second.
        """


@register
class Segments(Sampling):
    """One frame of each of as many equal parts of the clip, as one view (Wang et al., TSN, 2016).

    Args:
        segments: T.
        random: anywhere in the part, for training; else in its middle.
        twice: beside the middles as another view the beginnings of the parts, for tests.
        views: or at so many places in the parts, evenly between their ends, for tests.

    Raises:
        ValueError: a number is below 1, or several views of random ones, or ``twice`` and several ``views``.
    """

    def __init__(self, *, segments: int, random: bool = True, twice: bool = False, views: int = 1) -> None:
        if min(segments, views) < 1:
            raise ValueError(f"segments and views must be at least 1, got {segments} and {views}")
        if random and (twice or views > 1):
            raise ValueError("twice and views are for tests: set random to false")
        if twice and views > 1:
            raise ValueError(f"expected one of 'twice' and 'views', got both, {views} views")
        self.segments, self.random, self.twice, self.views = segments, random, twice, views

    def frames(self, total: int, rate: float) -> np.ndarray:
        """(views, segments), or (2, segments) where it samples twice."""
        if self.random:
            return _drawn_starts(total, self.segments)[None]
        part = total / self.segments
        starts = np.arange(self.segments) * part
        views = [starts + part * (k + 1) / (self.views + 1) for k in range(self.views)]
        if self.twice:
            views.append(starts)
        return np.stack(views).astype(np.int64)


@register
class DenseSegments(Sampling):
    """One frame of each of as many equal parts of a stretch of the clip (Lin et al., TSM, 2018).

    Args:
        segments: T.
        span: frames of the stretch.
        random: let it lie anywhere, for training.
        views: else at so many places, evenly from the first to the last possible one.

    Raises:
        ValueError: a number is below 1, or ``span`` below ``segments``.
    """

    def __init__(self, *, segments: int, span: int = 64, random: bool = True, views: int = 1) -> None:
        if min(segments, views) < 1 or span < segments:
            raise ValueError(
                "segments and views must be at least 1 and span at least segments, got "
                f"{segments}, {views} and {span}"
            )
        self.segments, self.span, self.random, self.views = segments, span, random, views

    def frames(self, total: int, rate: float) -> np.ndarray:
        """(1, segments) or (views, segments)."""
        places = max(1, 1 + total - self.span)
        last = places - 1
        starts = np.array([choose(places)]) if self.random else np.linspace(0, last, self.views).astype(int)
        return (starts[:, None] + np.arange(self.segments) * (self.span // self.segments)) % total


@register
class Clips(Sampling):
    """Frames at a fixed step, as networks over time and space look at them.

    Args:
        frames: T.
        step: each so manieth frame.
        clips: V; for training each lies anywhere in its part of the clip.
        random: for training; else they lie evenly from the first to the last possible place, one alone in
            the middle.
        rate: frames a second that ``step`` counts in, where clips have various ones; null: the clip's own.

    Raises:
        ValueError: a number isn't positive.
    """

    def __init__(
        self, *, frames: int, step: int = 1, clips: int = 1, random: bool = True, rate: float | None = None
    ) -> None:
        if min(frames, step, clips) < 1 or (rate is not None and rate <= 0):
            raise ValueError(
                "frames, step and clips must be at least 1 and rate positive, got "
                f"{frames}, {step}, {clips} and {rate}"
            )
        self.length, self.step, self.clips, self.random, self.rate = frames, step, clips, random, rate

    def frames(self, total: int, rate: float) -> np.ndarray:
        """(clips, frames)."""
        if self.rate is not None:
            span = max(1.0, self.length * self.step * rate / self.rate)
            inside = np.linspace(0, span - 1, self.length).astype(np.int64)
        else:
            inside = np.arange(self.length) * self.step
            span = self.length * self.step if self.random else inside[-1] + 1
        room = max(total - int(span), 0)
        if self.random:
            starts = _drawn_starts(room + 1, self.clips)
        elif self.clips == 1:
            starts = np.array([room // 2])
        else:
            starts = np.round(np.arange(self.clips) * room / (self.clips - 1)).astype(np.int64)
        return (starts[:, None] + inside) % total


def _drawn_starts(places: int, count: int) -> np.ndarray:
    """(count,) rising ones of 0..places - 1: one in each of as many equal parts; evenly, if they are few."""
    part = places // count
    if part > 0:
        return np.arange(count) * part + torch.randint(part, (count,)).numpy()
    return np.arange(count) * places // count
