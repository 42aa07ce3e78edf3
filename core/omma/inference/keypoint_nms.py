"""Of several finds of one object in a chain, the best is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from omma.errors import SetupError
from omma.inference.results import Seen
from omma.ops.oks import oks_nms
from omma.structures import DataInfo, Prediction
from omma.structures.select import chosen

S = TypeVar("S", bound=Seen)


@dataclass(frozen=True, kw_only=True)
class KeypointNMS:
    """Leaves out what has nearly the same key points as something better of its class (OKS-NMS).

    Better is what has the larger product of its score and the mean of its key points' scores.

    Raises:
        ValueError: the threshold is out of its range.
    """

    threshold: float = 0.9
    """Largest object key point similarity to something better that is kept, in 0..1."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold: expected a number in 0..1, got {self.threshold}")

    def joins(self, before: DataInfo) -> DataInfo:
        """The same info.

        Raises:
            SetupError: there are no key points.
        """
        spreads_of(before)
        return before

    def after(self, found: Iterable[S]) -> Iterator[S]:
        """What is left in each image, best first as before."""
        for seen in found:
            kept = self.kept(seen.prediction, spreads_of(seen.info))
            yield replace(seen, prediction=chosen(seen.prediction, kept))

    def kept(self, prediction: Prediction, sigmas: np.ndarray) -> torch.Tensor:
        """Rising positions of what is left of a prediction."""
        keypoints, areas = prediction["keypoints"].numpy(), prediction["areas"].numpy()
        scores = (prediction["scores"] * prediction["keypoint_scores"].mean(dim=1)).numpy()
        labels = prediction["labels"].numpy()
        places = [np.zeros(0, np.int64)]
        for label in np.unique(labels):
            own = np.flatnonzero(labels == label)
            best = oks_nms(keypoints[own], scores[own], areas[own], sigmas, threshold=self.threshold)
            places.append(own[best])
        return torch.from_numpy(np.sort(np.concatenate(places)))


def spreads_of(info: DataInfo) -> np.ndarray:
    """(K,) spread of each key point.

    Raises:
        SetupError: there are no key points.
    """
    if info.skeleton is None:
        raise SetupError("the stage before predicts no key points, or its model names no skeleton for them")
    return np.array(info.skeleton.spreads)
