"""The same objects found again in frame after frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import numpy as np
import torch

from omma.inference.results import Seen
from omma.inference.sources import Frame
from omma.ops import pairwise_iou
from omma.ops.oks import pairwise_oks
from omma.structures import DataInfo, Prediction

S = TypeVar("S", bound=Seen)


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Numbers the objects of a video: ``tracks`` of predictions; images pass as they are.

    An object is the one of an earlier frame that it is most like: pairs are formed greedily, first of those
    with like key points (OKS), then, of what is left, of those with overlapping boxes (IoU). Classes aren't
    mixed.

    Raises:
        ValueError: a number is out of its range.
    """

    oks: float = 0.3
    """Smallest similarity of key points of the same object in two frames."""
    iou: float = 0.3
    """Smallest overlap of its boxes."""
    lost_after: float = 0.5
    """Seconds without being found after which an object that comes back is a new one."""

    def __post_init__(self) -> None:
        if not (0 < self.oks <= 1 and 0 < self.iou <= 1) or self.lost_after < 0:
            raise ValueError("expected oks and iou in 0..1, and seconds from 0 on in lost_after")

    def joins(self, before: DataInfo) -> DataInfo:
        """The same info: it can follow anything that finds boxes."""
        return before

    def after(self, found: Iterable[S]) -> Iterator[S]:
        """The same with ``tracks``, numbered from 0 in each video."""
        tracks = _Tracks(self)
        last: Frame | None = None
        for seen in found:
            if seen.frame.number is None:
                yield seen
                continue
            if starts_anew(seen.frame, last):
                tracks = _Tracks(self)
            last = seen.frame
            numbers = torch.from_numpy(tracks.numbers(seen))
            yield replace(seen, prediction=cast(Prediction, {**seen.prediction, "tracks": numbers}))


def starts_anew(frame: Frame, last: Frame | None) -> bool:
    """Whether a frame of a video doesn't follow the last one."""
    assert frame.number is not None
    return last is None or last.path != frame.path or last.number is None or frame.number <= last.number


def seconds(frame: Frame) -> float:
    """Time of a frame of a video from its start."""
    if frame.time is not None:
        return frame.time
    assert frame.number is not None
    return frame.number / (frame.fps or 25.0)


class _Tracks:
    """The objects of one video, each as it was seen last."""

    def __init__(self, rules: Tracking) -> None:
        self.rules, self.count = rules, 0
        self.known: dict[int, tuple[float, Prediction]] = {}
        """Time and one-object prediction by number."""

    def numbers(self, seen: Seen) -> np.ndarray:
        """(N,) int64 number of each object of the next frame."""
        now, found = seconds(seen.frame), seen.prediction
        self.known = {
            number: (time, one)
            for number, (time, one) in self.known.items()
            if now - time <= self.rules.lost_after
        }
        count = len(found["scores"])
        numbers = np.full(count, -1, np.int64)
        old = list(self.known)
        if old and count:
            for before, after in self._pairs([one for _, one in self.known.values()], found, seen.info):
                numbers[after] = old[before]
        new = np.flatnonzero(numbers < 0)
        numbers[new] = self.count + np.arange(len(new))
        self.count += len(new)
        for i, number in enumerate(numbers.tolist()):
            one = {key: found[key][i : i + 1] for key in _COMPARED if key in found}
            self.known[number] = (now, cast(Prediction, one))
        return numbers

    def _pairs(self, old: list[Prediction], found: Prediction, info: DataInfo) -> list[tuple[int, int]]:
        """Positions of the same objects among the ``old`` ones and those ``found``."""
        stacked = {key: torch.cat([one[key] for one in old]) for key in old[0]}
        other = stacked["labels"][:, None].numpy() != found["labels"][None].numpy()
        iou = np.where(other, 0, pairwise_iou(stacked["boxes"], found["boxes"]).numpy())
        pairs: list[tuple[int, int]] = []
        if info.skeleton is not None and "keypoints" in found:
            oks = pairwise_oks(
                stacked["keypoints"].numpy(),
                found["keypoints"].numpy(),
                stacked["areas"].numpy(),
                found["areas"].numpy(),
                np.array(info.skeleton.spreads),
            )
            pairs = greedy_pairs(np.where(other, 0, oks), self.rules.oks)
            for row, column in pairs:
                iou[row], iou[:, column] = 0, 0
        return pairs + greedy_pairs(iou, self.rules.iou)


_COMPARED = ("boxes", "labels", "keypoints", "areas")


def greedy_pairs(similarity: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """Rows and columns of (A, B) in pairs, the most similar first, each once, none under the threshold."""
    pairs: list[tuple[int, int]] = []
    rows, columns = set[int](), set[int]()
    for place in np.argsort(-similarity, axis=None, kind="stable").tolist():
        row, column = divmod(place, similarity.shape[1])
        if similarity[row, column] < threshold:
            break
        if row not in rows and column not in columns:
            pairs.append((row, column))
            rows.add(row)
            columns.add(column)
    return pairs
