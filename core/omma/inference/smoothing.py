"""Key points of videos without jitter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import numpy as np
import torch

from omma.inference.keypoint_nms import spreads_of
from omma.inference.results import Seen
from omma.inference.sources import Frame
from omma.inference.tracking import Tracking, seconds, starts_anew
from omma.structures import DataInfo, Prediction

S = TypeVar("S", bound=Seen)


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """The one-euro filter on each key point of each object of a video; images pass as they are.

    A low-pass filter whose cutoff rises with speed (Casiez, Roussel and Vogel, CHI 2012): what is at rest is
    held still, what moves is followed. Speed is counted in sizes of the object a second, its size being the
    square root of its box' area, so that near and far ones are smoothed alike. At a steady speed a key point
    lags by no more than 1 / (2 pi beta) of that size.

    Raises:
        ValueError: a number is out of its range.
    """

    min_cutoff: float = 1.0
    """Hertz, at rest: lower is steadier."""
    beta: float = 10.0
    """Hertz for each size a second: higher follows movements closer."""
    tracking: Tracking = field(default_factory=Tracking)
    """What tells the objects of one frame from those of the next."""

    def __post_init__(self) -> None:
        if self.min_cutoff <= 0 or self.beta < 0:
            raise ValueError(
                f"expected min_cutoff above 0 and beta from 0 on, got {self.min_cutoff} and {self.beta}"
            )

    def joins(self, before: DataInfo) -> DataInfo:
        """The same info.

        Raises:
            SetupError: there are no key points.
        """
        spreads_of(before)
        return before

    def after(self, found: Iterable[S]) -> Iterator[S]:
        """The same with ``tracks`` and steadier key points."""
        filters: dict[int, OneEuro] = {}
        last: Frame | None = None
        for seen in self.tracking.after(found):
            if seen.frame.number is None:
                yield seen
                continue
            if starts_anew(seen.frame, last):
                filters = {}
            last, now = seen.frame, seconds(seen.frame)
            filters = {i: each for i, each in filters.items() if now - each.time <= self.tracking.lost_after}
            yield replace(seen, prediction=self._smooth(seen.prediction, filters, now))

    def _smooth(self, prediction: Prediction, filters: dict[int, OneEuro], now: float) -> Prediction:
        boxes, places = prediction["boxes"].double(), prediction["keypoints"].double().numpy()
        sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).prod(dim=1).sqrt().tolist()
        steady = np.empty_like(places)
        for i, number in enumerate(prediction["tracks"].tolist()):
            if number not in filters:
                filters[number] = OneEuro(min_cutoff=self.min_cutoff, beta=self.beta)
            steady[i] = filters[number](places[i], now, sizes[i])
        keypoints = torch.from_numpy(steady).to(prediction["keypoints"].dtype)
        return cast(Prediction, {**prediction, "keypoints": keypoints})


class OneEuro:
    """The filter of K places that belong to one object.

    Args:
        min_cutoff: at rest, hertz.
        beta: what the cutoff rises by, hertz for each unit of length a second.
        speed_cutoff: of the filter of the speed, hertz.
    """

    def __init__(self, *, min_cutoff: float, beta: float, speed_cutoff: float = 1.0) -> None:
        self.min_cutoff, self.beta, self.speed_cutoff = min_cutoff, beta, speed_cutoff
        self.time = -math.inf
        """Of the places that came last, seconds."""
        self.places, self.velocity = np.zeros(0), np.zeros(0)

    def __call__(self, places: np.ndarray, time: float, unit: float = 1.0) -> np.ndarray:
        """(K, 2) float64 filtered places.

        Args:
            places: (K, 2).
            time: seconds, later than before.
            unit: of length, in which speed is counted; in that of ``places``.
        """
        if math.isinf(self.time):
            self.time, self.places, self.velocity = time, places, np.zeros_like(places)
            return places
        step, self.time = time - self.time, time
        velocity = (places - self.places) / step
        self.velocity = self.velocity + share(self.speed_cutoff, step) * (velocity - self.velocity)
        speed = np.linalg.norm(self.velocity, axis=-1, keepdims=True) / unit
        self.places = self.places + share(self.min_cutoff + self.beta * speed, step) * (places - self.places)
        return self.places


def share(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """What a new value counts in a low-pass filter: cutoff in hertz, seconds since the value before."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))
